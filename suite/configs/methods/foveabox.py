"""FoveaBox (Kong et al., TIP 2020): mmdet's ``fovea_r50_fpn_4xb4-1x_coco``.

R-50 FPN 1x: AP 36.5 on COCO val2017 (mmdet); published 40.6 with R-101, 42.1 with X-101. Differs from mmdet:
warm-up from a third of the learning rate. The images of a GPU may have no positive point, as those of small
objects lie between the points; the box branch is unused in that step, and several GPUs have to know.
"""

_base_ = [
    "../_base_/r50_fpn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    type="FOVEA",
    bbox_head=dict(
        type="FoveaHead",
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        base_edge_list=[16, 32, 64, 128, 256],
        scale_ranges=((1, 64), (32, 128), (64, 256), (128, 512), (256, 2048)),
        sigma=0.4,
        with_deform=False,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=1.5, alpha=0.4, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=1.0),
    ),
    train_cfg=dict(),
)
find_unused_parameters = True

suite = dict(
    label="FoveaBox",
    paper="foveabox_tip2020",
    options=dict(sigma="model.bbox_head.sigma", lr="optim_wrapper.optimizer.lr"),
)
