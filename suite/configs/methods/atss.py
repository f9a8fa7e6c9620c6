"""ATSS (Zhang et al., CVPR 2020) with the authors' settings. R-50 FPN 1x, AP 39.3 on COCO val2017.

Not taken over: the Caffe backbone and the box widths with +1.
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
        auxiliary="centerness",
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=dict(assigner=dict(type="ATSSAssigner", topk=9)),
)

suite = dict(
    label="ATSS",
    paper="atss_cvpr2020",
    options=dict(
        topk="model.train_cfg.assigner.topk",
        auxiliary="model.bbox_head.auxiliary",
        lr="optim_wrapper.optimizer.lr",
    ),
)
