"""Generated scenes on a CPU, a first look: core items in ten minutes on two cores, far from trained out.

A method keeps what is its own: losses, assignment, bags, beta, thresholds, anchors in strides, five pyramid
levels, bias learning rate. The preset sets the scale: a ResNet-18 of a quarter of its width, pretrained on
single shapes, FPN with 32 channels, one stacked convolution, group norm in both, 198 steps of 8 images of 128
px with AdamW.

The levels have strides 4 to 64, half of COCO's, in images of a sixth of its size, so that objects span the
strides that they span there (docs/dataset.md). What methods give in pixels is halved with the strides: the
ranges of FCOS and FoveaBox. Exceptions: two-stage detectors have no level below stride 4, so their anchors
are half as large against it, with fewer channels, proposals and samples; RepPoints' points and FSAF's
distances follow the strides.
"""

train_cfg = dict(max_epochs=2)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(type="MultiStepLR", by_epoch=False, begin=0, end=196, milestones=[170], gamma=0.1),
]
optim_wrapper = dict(
    # Within minutes SGD learns next to nothing; every method gets the same optimizer.
    optimizer=dict(_delete_=True, type="AdamW", lr=0.002, weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2),
)

# An epoch has 99 steps.
custom_hooks = [
    dict(type="RunLogHook"),
    dict(type="AssignmentHook", interval=98, images=8),
    dict(type="ValidationHook", images=50),
]

# In so short a training FPN and towers need a norm; at COCO scale only some methods have one there.
_channels = 32
_norm = dict(type="GN", num_groups=16, requires_grad=True)
model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=dict(checkpoint="shapes://resnet18_quarter"),
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

_strides = [4, 8, 16, 32, 64]
_fpn = dict(in_channels=[16, 32, 64, 128], out_channels=_channels, start_level=0, num_outs=5, norm_cfg=_norm)
_head = dict(in_channels=_channels, feat_channels=_channels, stacked_convs=1, norm_cfg=_norm)
_retina = dict(**_head, anchor_generator=dict(strides=_strides))

_fovea = dict(
    **_head,
    strides=_strides,
    base_edge_list=[8, 16, 32, 64, 128],
    scale_ranges=((1, 32), (16, 64), (32, 128), (64, 256), (128, 1024)),
)

# Two-stage detectors.
_pyramid = dict(in_channels=[16, 32, 64, 128], out_channels=_channels, num_outs=4, norm_cfg=_norm)
_balanced = [
    dict(type="FPN", **_pyramid),
    dict(type="BFP", in_channels=_channels, num_levels=4, refine_level=2, refine_type="non_local"),
]
_rpn = dict(
    in_channels=_channels, feat_channels=_channels, anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32])
)
_roi = dict(out_channels=_channels)
_box = dict(in_channels=_channels, fc_out_channels=128)
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
    dataset=dict(type="shapes", train_images=800, val_images=300, image_size=240, seed=0),
    cpus=1,
    gpus=0,
    seeds=[0],
    seconds_per_run=80,
    disk_mb_per_run=40,
    by_method=dict(
        retinanet=_model(neck=_fpn, bbox_head=_retina),
        retinanet_maskrcnn_benchmark=_model(neck=_fpn, bbox_head=_retina),
        retinanet_mmdet=_model(neck=_fpn, bbox_head=_retina),
        retinanet_topk=_model(neck=_fpn, bbox_head=_retina),
        free_anchor=_model(neck=_fpn, bbox_head=_retina),
        ltm=_model(neck=_fpn, bbox_head=_retina),
        ltm_positive=_model(neck=_fpn, bbox_head=_retina),
        ltm_af=_model(neck=_fpn, bbox_head=dict(**_head, strides=_strides)),
        retinanet_one_anchor=_model(neck=_fpn, bbox_head=_retina),
        retinanet_one_anchor_iou=_model(neck=_fpn, bbox_head=_retina),
        atss=_model(neck=_fpn, bbox_head=_retina),
        atss_iou=_model(neck=_fpn, bbox_head=_retina),
        paa=_model(neck=_fpn, bbox_head=_retina),
        fcos=_model(
            neck=_fpn,
            bbox_head=dict(
                **_head,
                strides=_strides,
                regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 256), (256, 1e8)),
            ),
        ),
        fsaf=_model(neck=_fpn, bbox_head=dict(**_head, anchor_generator=dict(strides=_strides))),
        foveabox=_model(neck=_fpn, bbox_head=_fovea),
        alrp_retinanet=_model(neck=_fpn, bbox_head=_retina),
        retinanet_500=_model(neck=_fpn, bbox_head=_retina),
        ap_loss_retinanet=_model(neck=_fpn, bbox_head=_retina),
        alrp_atss=_model(neck=_fpn, bbox_head=_retina),
        alrp_atss_800=_model(neck=_fpn, bbox_head=_retina),
        atss_500=_model(neck=_fpn, bbox_head=_retina),
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
            neck=_fpn, bbox_head=dict(**_head, point_feat_channels=_channels, point_strides=_strides)
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
del (
    _model,
    _norm,
    _fpn,
    _head,
    _retina,
    _strides,
    _channels,
    _pyramid,
    _balanced,
    _rpn,
    _roi,
    _box,
    _proposals,
)
del _samples, _fovea, _two_stage
