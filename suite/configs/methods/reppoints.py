"""RepPoints (Yang et al., ICCV 2019), RPDet: mmdet's ``reppoints-moment_r50_fpn-gn_head-gn_1x_coco``.

R-50 FPN 1x: AP 38.1 on COCO val2017 (mmdet); published 41.0 with R-101, 45.0 with R-101-DCN and scale jitter.
Differs from mmdet: warm-up from a third of the learning rate.
"""

_base_ = [
    "../_base_/r50_fpn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

_norm = dict(type="GN", num_groups=32, requires_grad=True)
model = dict(
    type="RepPointsDetector",
    neck=dict(norm_cfg=_norm),
    bbox_head=dict(
        type="RepPointsHead",
        num_classes=80,
        in_channels=256,
        feat_channels=256,
        point_feat_channels=256,
        stacked_convs=3,
        num_points=9,
        gradient_mul=0.1,
        point_strides=[8, 16, 32, 64, 128],
        point_base_scale=4,
        norm_cfg=_norm,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox_init=dict(type="SmoothL1Loss", beta=0.11, loss_weight=0.5),
        loss_bbox_refine=dict(type="SmoothL1Loss", beta=0.11, loss_weight=1.0),
        transform_method="moment",
    ),
    train_cfg=dict(
        init=dict(
            assigner=dict(type="PointAssigner", scale=4, pos_num=1),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        refine=dict(
            assigner=dict(
                type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1
            ),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
    ),
)
del _norm

suite = dict(
    label="RepPoints",
    paper="reppoints_iccv2019",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
