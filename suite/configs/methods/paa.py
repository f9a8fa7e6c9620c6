"""PAA (Kim and Lee, ECCV 2020) on mmdet's parts. R-50 FPN 1x, AP 40.4 on COCO val2017.

The covariance type is `full`: in one dimension the same model as mmdet's `diag`, but fitted without the
float32 cancellation by which `diag` dies of an "ill-defined empirical covariance". mmdet's head departs from
the authors' code otherwise: it scores candidates with the GIoU loss weighted 1.3 instead of 1.0, leaves an
object with a single candidate without a positive, and thresholds the combined score at inference instead of
the class score.
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
        type="PAAHead",
        reg_decoded_bbox=True,
        score_voting=True,
        topk=9,
        covariance_type="full",
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
        voting="model.bbox_head.score_voting",
        lr="optim_wrapper.optimizer.lr",
    ),
)
