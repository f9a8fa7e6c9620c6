"""LTM-AF, the anchor-free LTM (Zhang et al., TPAMI 2021), with the settings of the released code.

Bags of points by normalised distance, distances in units of the stride, GIoU as the localisation loss, group
norm in the FPN and the towers.
"""

_base_ = [
    "../_base_/r50_fpn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    type="SingleStageDetector",
    neck=dict(norm_cfg=dict(type="GN", num_groups=32, requires_grad=True)),
    bbox_head=dict(
        type="LTMAFHead",
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        norm_cfg=dict(type="GN", num_groups=32, requires_grad=True),
        bag_size=40,
        points="released",
        window=0.8,
        negative_matching="eq25",
        neg_iou="relative",
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.0, loss_weight=1.0),
        loss_bbox=dict(type="StrideGIoULoss", loss_weight=5.5),
        init_cfg=dict(
            type="Normal",
            layer="Conv2d",
            std=0.01,
            override=dict(type="Normal", name="conv_cls", std=0.01, bias_prob=0.01),
        ),
    ),
)

optim_wrapper = dict(optimizer=dict(lr=0.005), clip_grad=dict(max_norm=10, norm_type=2))

suite = dict(
    label="LTM-AF",
    paper="ltm_tpami2021",
    options=dict(
        K="model.bbox_head.bag_size",
        points="model.bbox_head.points",
        beta="model.bbox_head.loss_bbox.loss_weight",
        gamma="model.bbox_head.loss_cls.gamma",
        prior="model.bbox_head.init_cfg.override.bias_prob",
        negative_matching="model.bbox_head.negative_matching",
        neg_iou="model.bbox_head.neg_iou",
        lr="optim_wrapper.optimizer.lr",
    ),
)
