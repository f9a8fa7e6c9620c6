"""CornerNet (Law and Deng, ECCV 2018): mmdet's ``cornernet_hourglass104_8xb6-210e-mstest_coco``.

Hourglass-104, 210 epochs of 48 images a step: AP 41.2 on COCO val2017 with flips (mmdet), 40.5 on test-dev
(published). Tested at one scale without flips here. Backbone, schedule, crops and test images are its own, so
no recipe applies.
"""

_base_ = [
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

_means = [123.675, 116.28, 103.53]
_stds = [58.395, 57.12, 57.375]
model = dict(
    type="CornerNet",
    data_preprocessor=dict(type="DetDataPreprocessor", mean=_means, std=_stds, bgr_to_rgb=True),
    backbone=dict(
        type="HourglassNet",
        downsample_times=5,
        num_stacks=2,
        stage_channels=[256, 256, 384, 384, 384, 512],
        stage_blocks=[2, 2, 2, 2, 2, 4],
        norm_cfg=dict(type="BN", requires_grad=True),
    ),
    neck=None,
    bbox_head=dict(
        type="CornerHead",
        num_classes=80,
        in_channels=256,
        num_feat_levels=2,
        corner_emb_channels=1,
        loss_heatmap=dict(type="GaussianFocalLoss", alpha=2.0, gamma=4.0, loss_weight=1),
        loss_embedding=dict(type="AssociativeEmbeddingLoss", pull_weight=0.1, push_weight=0.1),
        loss_offset=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1),
    ),
    train_cfg=None,
    test_cfg=dict(
        corner_topk=100,
        local_maximum_kernel=3,
        distance_threshold=0.5,
        score_thr=0.05,
        max_per_img=100,
        nms=dict(type="soft_nms", iou_threshold=0.5, method="gaussian"),
    ),
)

train_dataloader = dict(
    batch_size=6,
    batch_sampler=None,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(
                type="PhotoMetricDistortion",
                brightness_delta=32,
                contrast_range=(0.5, 1.5),
                saturation_range=(0.5, 1.5),
                hue_delta=18,
            ),
            dict(
                type="RandomCenterCropPad",
                crop_size=(511, 511),
                ratios=(0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
                test_mode=False,
                test_pad_mode=None,
                mean=_means,
                std=_stds,
                to_rgb=True,
            ),
            dict(type="Resize", scale=(511, 511), keep_ratio=False),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ]
    ),
)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile", to_float32=True),
            dict(
                type="RandomCenterCropPad",
                crop_size=None,
                ratios=None,
                border=None,
                test_mode=True,
                test_pad_mode=["logical_or", 127],
                mean=_means,
                std=_stds,
                to_rgb=True,
            ),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "border"),
            ),
        ]
    ),
)
del _means, _stds

train_cfg = dict(max_epochs=210)
param_scheduler = [
    dict(type="LinearLR", start_factor=1.0 / 3, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=210, milestones=[180], gamma=0.1),
]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="Adam", lr=0.0005), clip_grad=dict(max_norm=35, norm_type=2)
)
auto_scale_lr = dict(base_batch_size=48)

suite = dict(
    label="CornerNet",
    paper="cornernet_eccv2018",
    without=["backbone", "schedule", "train_scales", "test_scales"],
    full_scale_only="its Hourglass-104 has no small form",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
