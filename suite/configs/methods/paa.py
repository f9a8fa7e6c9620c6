"""PAA (Kim and Lee, ECCV 2020) with the authors' settings. R-50 FPN 1x, AP 40.4 on COCO val2017.

The head works as the authors' code does, not as mmdet's: candidates are scored with the GIoU loss weighted
1.0 (mmdet: 1.3), an object with a single candidate has it as a positive (mmdet: none), normalisers are means
over all GPUs, and detections are thresholded by their class score. Instead of one scikit-learn fit an object
it fits the mixtures of a batch together; the result is the same. Separation (c) is the authors' choice since
August 2020; the paper's tables are made with (b). Not taken over: the Caffe backbone and the box widths with
+1.
"""

_base_ = [
    "../_base_/atss_head.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x_atss.py",
    "../_base_/runtime.py",
]

model = dict(
    type="PAA",
    bbox_head=dict(
        type="BatchedPAAHead",
        auxiliary="iou",
        score_voting=True,
        topk=9,
        scoring_weight=1.0,
        separation="c",
        fixed_number=10,
        fixed_score=0.1,
        loss_bbox=dict(type="GIoULoss", loss_weight=1.3),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.5),
    ),
)

suite = dict(
    label="PAA",
    paper="paa_eccv2020",
    options=dict(
        topk="model.bbox_head.topk",
        scoring_weight="model.bbox_head.scoring_weight",
        separation="model.bbox_head.separation",
        fixed_number="model.bbox_head.fixed_number",
        fixed_score="model.bbox_head.fixed_score",
        auxiliary="model.bbox_head.auxiliary",
        voting="model.bbox_head.score_voting",
        lr="optim_wrapper.optimizer.lr",
    ),
)
