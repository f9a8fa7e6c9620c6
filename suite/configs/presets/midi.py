"""Generated scenes on a CPU, for a night: the preset whose numbers mean something.

Preset mini's methods and network on images of 192 px, 48 strides of the finest level, where objects span from
2 to 36 strides as in COCO up to the median (docs/dataset.md): 988 steps of 8 images with AdamW, evaluated on
1,000 images.
"""

_base_ = "./mini.py"

train_cfg = dict(max_epochs=4)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=4, milestones=[3], gamma=0.1),
]

# An epoch has 247 steps.
custom_hooks = [
    dict(type="RunLogHook"),
    dict(type="AssignmentHook", interval=247, images=8),
    dict(type="ValidationHook", images=100),
]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", scale=(192, 192), keep_ratio=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(192, 192), keep_ratio=True),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
            ),
        ],
    ),
)

suite = dict(
    dataset=dict(type="shapes", train_images=2000, val_images=1000, image_size=240, seed=0),
    seconds_per_run=480,
)
