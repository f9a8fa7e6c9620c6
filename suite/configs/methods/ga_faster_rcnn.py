"""GA-Faster-RCNN of Guided Anchoring (Wang et al., CVPR 2019): ``ga-faster-rcnn_r50-caffe_fpn_1x_coco``.

R-50 FPN 1x: AP 39.6 on COCO val2017 (mmdet), 39.8 on test-dev (published). Differs from mmdet: torchvision's
backbone, not Caffe's, and warm-up from a third of the learning rate.
"""

_base_ = [
    "../_base_/faster_rcnn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    rpn_head=dict(
        _delete_=True,
        type="GARPNHead",
        in_channels=256,
        feat_channels=256,
        approx_anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=8,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        square_anchor_generator=dict(
            type="AnchorGenerator", ratios=[1.0], scales=[8], strides=[4, 8, 16, 32, 64]
        ),
        anchor_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.07, 0.07, 0.14, 0.14],
        ),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.07, 0.07, 0.11, 0.11],
        ),
        loc_filter_thr=0.01,
        loss_loc=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_shape=dict(type="BoundedIoULoss", beta=0.2, loss_weight=1.0),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
    ),
    roi_head=dict(bbox_head=dict(bbox_coder=dict(target_stds=[0.05, 0.05, 0.1, 0.1]))),
    train_cfg=dict(
        rpn=dict(
            ga_assigner=dict(
                type="ApproxMaxIoUAssigner",
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                ignore_iof_thr=-1,
            ),
            ga_sampler=dict(
                type="RandomSampler", num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False
            ),
            center_ratio=0.2,
            ignore_ratio=0.5,
        ),
        rpn_proposal=dict(nms_post=1000, max_per_img=300),
        rcnn=dict(assigner=dict(pos_iou_thr=0.6, neg_iou_thr=0.6, min_pos_iou=0.6), sampler=dict(num=256)),
    ),
    test_cfg=dict(rpn=dict(nms_post=1000, max_per_img=300), rcnn=dict(score_thr=1e-3)),
)

optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=35, norm_type=2))

suite = dict(
    label="GA-Faster-RCNN",
    paper="guided_anchoring_cvpr2019",
    full_scale_only="its masked convolutions run on GPUs alone",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
