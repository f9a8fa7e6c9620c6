"""Generated scenes on a CPU: the order of the methods shows in minutes. Train on 800 images, evaluate on 200.

A method keeps what is its own: losses, assignment, beta, bias learning rate. The preset sets the scale: a
ResNet-18 of a quarter of its width from scratch, FPN P3..P5 with 64 channels, one stacked convolution,
group norm in both, 128 px images, 784 steps of 8 images with AdamW. Objects are small against the strides
in such images: anchors are half as large against the stride as published (16 to 102 px for RetinaNet's
family, 32 to 128 px for ATSS and PAA), and fewer anchors lie on an object, so bags are half as large (K =
20 for LTM and the K-anchor RetinaNet, n = 25 for FreeAnchor) and LTM-AF's, one point a location, hold 10.
"""

train_cfg = dict(max_epochs=8)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=8, milestones=[6, 7], gamma=0.1),
]
optim_wrapper = dict(
    # From scratch and within minutes SGD learns next to nothing; every method gets the same optimizer.
    optimizer=dict(_delete_=True, type="AdamW", lr=0.002, weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2),
)

# An epoch has 98 steps.
custom_hooks = [
    dict(type="RunLogHook"),
    dict(type="AssignmentHook", interval=98, images=8),
    dict(type="ValidationHook", images=50),
]

# Without pretrained weights FPN and towers need a norm; at COCO scale only some methods have one there.
_norm = dict(type="GN", num_groups=16, requires_grad=True)
model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
)

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    batch_sampler=None,
    dataset=dict(
        filter_cfg=dict(filter_empty_gt=True, min_size=1),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", scale=(128, 128), keep_ratio=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(128, 128), keep_ratio=True),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
            ),
        ],
    ),
)

_fpn = dict(in_channels=[16, 32, 64, 128], out_channels=64, num_outs=3, norm_cfg=_norm)
_head = dict(in_channels=64, feat_channels=64, stacked_convs=1, norm_cfg=_norm)
_retina = dict(**_head, anchor_generator=dict(octave_base_scale=2, strides=[8, 16, 32]))
_square = dict(**_head, anchor_generator=dict(octave_base_scale=4, strides=[8, 16, 32]))

_fovea = dict(
    **_head,
    strides=[8, 16, 32],
    base_edge_list=[8, 16, 32],
    scale_ranges=((1, 32), (16, 64), (32, 256)),
)

# Two-stage detectors: FPN P2..P5, anchors half as large, too, and fewer channels, proposals and samples.
_pyramid = dict(in_channels=[16, 32, 64, 128], out_channels=64, num_outs=4, norm_cfg=_norm)
_balanced = [
    dict(type="FPN", **_pyramid),
    dict(type="BFP", in_channels=64, num_levels=4, refine_level=2, refine_type="non_local"),
]
_rpn = dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]))
_roi = dict(out_channels=64)
_box = dict(in_channels=64, fc_out_channels=128)
_proposals = dict(nms_pre=500, max_per_img=100)
_samples = dict(sampler=dict(num=64))


def _model(**parts):
    return dict(model=parts)


_two_stage = _model(
    neck=_pyramid,
    rpn_head=_rpn,
    roi_head=dict(bbox_roi_extractor=_roi, bbox_head=_box),
    train_cfg=dict(rpn_proposal=_proposals, rcnn=_samples),
    test_cfg=dict(rpn=_proposals),
)

suite = dict(
    dataset=dict(type="shapes", train_images=800, val_images=200, image_size=256, seed=0),
    cpus=1,
    gpus=0,
    seeds=[0],
    seconds_per_run=180,
    disk_mb_per_run=60,
    by_method=dict(
        retinanet=_model(neck=_fpn, bbox_head=_retina),
        retinanet_maskrcnn_benchmark=_model(neck=_fpn, bbox_head=_retina),
        retinanet_mmdet=_model(neck=_fpn, bbox_head=_retina),
        retinanet_topk=_model(neck=_fpn, bbox_head=_retina, train_cfg=dict(assigner=dict(topk=20))),
        free_anchor=_model(neck=_fpn, bbox_head=dict(**_retina, bag_size=25)),
        ltm=_model(neck=_fpn, bbox_head=dict(**_retina, bag_size=20)),
        ltm_positive=_model(neck=_fpn, bbox_head=dict(**_retina, bag_size=20)),
        ltm_af=_model(neck=_fpn, bbox_head=dict(**_head, strides=[8, 16, 32], bag_size=10)),
        retinanet_one_anchor=_model(neck=_fpn, bbox_head=_square),
        retinanet_one_anchor_iou=_model(neck=_fpn, bbox_head=_square),
        atss=_model(neck=_fpn, bbox_head=_square),
        atss_iou=_model(neck=_fpn, bbox_head=_square),
        paa=_model(neck=_fpn, bbox_head=_square),
        fcos=_model(
            neck=_fpn,
            bbox_head=dict(**_head, strides=[8, 16, 32], regress_ranges=((-1, 32), (32, 64), (64, 1e8))),
        ),
        fsaf=_model(neck=_fpn, bbox_head=dict(**_head, anchor_generator=dict(strides=[8, 16, 32]))),
        foveabox=_model(neck=_fpn, bbox_head=_fovea),
        alrp_retinanet=_model(neck=_fpn, bbox_head=_retina),
        retinanet_500=_model(neck=_fpn, bbox_head=_retina),
        ap_loss_retinanet=_model(neck=_fpn, bbox_head=_retina),
        alrp_atss=_model(neck=_fpn, bbox_head=_retina),
        alrp_atss_800=_model(neck=_fpn, bbox_head=_retina),
        atss_500=_model(neck=_fpn, bbox_head=_square),
        foveabox_500=_model(neck=_fpn, bbox_head=_fovea),
        ap_loss_foveabox=_model(neck=_fpn, bbox_head=_fovea),
        alrp_foveabox=_model(neck=_fpn, bbox_head=_fovea),
        faster_rcnn_500=_two_stage,
        faster_rcnn_giou_500=_two_stage,
        alrp_faster_rcnn=_model(
            neck=_pyramid,
            rpn_head=_rpn,
            roi_head=dict(bbox_roi_extractor=_roi, bbox_head=_box),
            train_cfg=dict(rpn_proposal=_proposals),
            test_cfg=dict(rpn=_proposals),
        ),
        reppoints=_model(
            neck=_fpn,
            bbox_head=dict(**_head, point_feat_channels=64, point_strides=[8, 16, 32], point_base_scale=2),
            train_cfg=dict(init=dict(assigner=dict(scale=2))),
        ),
        faster_rcnn=_two_stage,
        libra_rcnn=_model(
            neck=_balanced,
            rpn_head=_rpn,
            roi_head=dict(bbox_roi_extractor=_roi, bbox_head=_box),
            train_cfg=dict(rpn_proposal=_proposals, rcnn=_samples),
            test_cfg=dict(rpn=_proposals),
        ),
        cascade_rcnn=_model(
            neck=_pyramid,
            rpn_head=_rpn,
            roi_head=dict(bbox_roi_extractor=_roi, bbox_head={"0": _box, "1": _box, "2": _box}),
            train_cfg=dict(rpn_proposal=_proposals, rcnn={"0": _samples, "1": _samples, "2": _samples}),
            test_cfg=dict(rpn=_proposals),
        ),
    ),
)

# Leave no helper among the keys that are merged over a method.
del _model, _norm, _fpn, _head, _retina, _square, _pyramid, _balanced, _rpn, _roi, _box, _proposals, _samples
del _fovea, _two_stage
