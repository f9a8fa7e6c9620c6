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
custom_hooks = [dict(type="RunLogHook"), dict(type="AssignmentHook", interval=98, images=8)]

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
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64, num_outs=3, norm_cfg=_norm),
    bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=1, norm_cfg=_norm),
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

_retina_anchors = dict(octave_base_scale=2, strides=[8, 16, 32])
_square_anchors = dict(octave_base_scale=4, strides=[8, 16, 32])


def _head(**settings):
    return dict(model=dict(bbox_head=settings))


suite = dict(
    dataset=dict(type="shapes", train_images=800, val_images=200, image_size=256, seed=0),
    cpus=1,
    gpus=0,
    seeds=[0],
    seconds_per_run=180,
    disk_mb_per_run=60,
    by_method=dict(
        retinanet=_head(anchor_generator=_retina_anchors),
        retinanet_topk=dict(
            model=dict(
                bbox_head=dict(anchor_generator=_retina_anchors), train_cfg=dict(assigner=dict(topk=20))
            )
        ),
        free_anchor=_head(anchor_generator=_retina_anchors, bag_size=25),
        ltm=_head(anchor_generator=_retina_anchors, bag_size=20),
        ltm_positive=_head(anchor_generator=_retina_anchors, bag_size=20),
        ltm_af=_head(strides=[8, 16, 32], bag_size=10),
        retinanet_one_anchor=_head(anchor_generator=_square_anchors),
        retinanet_one_anchor_iou=_head(anchor_generator=_square_anchors),
        atss=_head(anchor_generator=_square_anchors),
        atss_iou=_head(anchor_generator=_square_anchors),
        paa=_head(anchor_generator=_square_anchors),
    ),
)

# Leave no helper among the keys that are merged over a method.
del _head, _norm, _retina_anchors, _square_anchors
