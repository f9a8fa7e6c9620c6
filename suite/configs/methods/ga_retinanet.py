"""GA-RetinaNet of Guided Anchoring (Wang et al., CVPR 2019): mmdet's ``ga-retinanet_r50-caffe_fpn_1x_coco``.

R-50 FPN 1x: AP 36.9 on COCO val2017 (mmdet), 37.1 on test-dev (published). Differs from mmdet: torchvision's
backbone, not Caffe's, and warm-up from a third of the learning rate.
"""

_base_ = [
    "../_base_/r50_fpn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    type="RetinaNet",
    bbox_head=dict(
        type="GARetinaHead",
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        approx_anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        square_anchor_generator=dict(
            type="AnchorGenerator", ratios=[1.0], scales=[4], strides=[8, 16, 32, 64, 128]
        ),
        anchor_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0],
        ),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0],
        ),
        loc_filter_thr=0.01,
        loss_loc=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_shape=dict(type="BoundedIoULoss", beta=0.2, loss_weight=1.0),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=0.04, loss_weight=1.0),
    ),
    train_cfg=dict(
        ga_assigner=dict(
            type="ApproxMaxIoUAssigner",
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0.4,
            ignore_iof_thr=-1,
        ),
        ga_sampler=dict(
            type="RandomSampler", num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False
        ),
        assigner=dict(
            type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0, ignore_iof_thr=-1
        ),
        sampler=dict(type="PseudoSampler"),
        allowed_border=-1,
        pos_weight=-1,
        center_ratio=0.2,
        ignore_ratio=0.5,
        debug=False,
    ),
)

optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))

suite = dict(
    label="GA-RetinaNet",
    paper="guided_anchoring_cvpr2019",
    full_scale_only="its masked convolutions run on GPUs alone",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
