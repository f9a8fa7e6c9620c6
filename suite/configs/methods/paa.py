"""PAA (Kim and Lee, ECCV 2020) on mmdet's parts. R-50 FPN 1x, AP 40.4 on COCO val2017.

The head assigns as the authors' code: candidates are scored with the GIoU loss weighted 1.0 (mmdet: 1.3), an
object with a single candidate has it as a positive (mmdet: none), and normalisers are means over all GPUs.
Instead of one scikit-learn fit an object it fits the mixtures of a batch together; the result is the same.
Inference is mmdet's, which thresholds the combined score instead of the class score.
"""

_base_ = [
    "../_base_/atss_head.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    type="PAA",
    bbox_head=dict(
        type="BatchedPAAHead",
        reg_decoded_bbox=True,
        score_voting=True,
        topk=9,
        scoring_weight=1.0,
        loss_bbox=dict(type="GIoULoss", loss_weight=1.3),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.5),
    ),
    train_cfg=dict(
        assigner=dict(
            type="MaxIoUAssigner", pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0, ignore_iof_thr=-1
        ),
    ),
)

suite = dict(
    label="PAA",
    paper="paa_eccv2020",
    options=dict(
        topk="model.bbox_head.topk",
        scoring_weight="model.bbox_head.scoring_weight",
        voting="model.bbox_head.score_voting",
        lr="optim_wrapper.optimizer.lr",
    ),
)
