"""RetinaNet's IoU thresholds on ATSS's head of one square anchor: PAA's Table 1 (right), first row "IoU".

The authors' config ``ret_R_50_FPN_1.5x``: group norm, a scale a level, GIoU loss with weight 2. R-50 FPN with
135k iterations: AP 34.6 on COCO val2017.
"""

_base_ = [
    "../_base_/atss_head.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x_atss.py",
    "../_base_/runtime.py",
]

model = dict(
    type="ATSS",
    bbox_head=dict(
        type="OneAnchorHead",
        auxiliary="none",
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.5),
    ),
    train_cfg=dict(assigner=dict(type="CentredIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4)),
)

suite = dict(
    label="RetinaNet (one anchor)",
    paper="paa_eccv2020",
    options=dict(
        pos_iou_thr="model.train_cfg.assigner.pos_iou_thr",
        neg_iou_thr="model.train_cfg.assigner.neg_iou_thr",
        lr="optim_wrapper.optimizer.lr",
    ),
)
