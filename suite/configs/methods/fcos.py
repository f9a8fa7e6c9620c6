"""FCOS (Tian et al., ICCV 2019) as first published: mmdet's ``fcos_r50-caffe_fpn_gn-head_1x_coco``.

R-50 FPN 1x: AP 36.6 on COCO val2017 (mmdet). No centre sampling, no normalised distances, IoU loss: what the
published rows of 41.5 (R-101) and 43.2 (X-101) are made with. Differs from mmdet: torchvision's backbone, not
Caffe's.
"""

_base_ = [
    "../_base_/r50_fpn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x_atss.py",
    "../_base_/runtime.py",
]

model = dict(
    type="FCOS",
    neck=dict(add_extra_convs="on_output", relu_before_extra_convs=True),
    bbox_head=dict(
        type="FCOSHead",
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        regress_ranges=((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="IoULoss", loss_weight=1.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    ),
)

optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))

suite = dict(
    label="FCOS",
    paper="fcos_iccv2019",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
