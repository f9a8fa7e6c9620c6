# COCO as aLRP Loss was trained on it: 512x512 with SSD's augmentation, tested at 500 pixels; 100 epochs.
# 4 GPUs with 8 images each, warm-up of 500 steps from a thousandth of the rate, decay at 75 and 95 epochs.
_base_ = ["./coco_detection.py", "./schedule_1x.py", "./runtime.py"]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    batch_sampler=None,
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile", to_float32=True),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(
                type="PhotoMetricDistortion",
                brightness_delta=32,
                contrast_range=(0.5, 1.5),
                saturation_range=(0.5, 1.5),
                hue_delta=18,
            ),
            dict(type="Expand", mean=[123.675, 116.28, 103.53], to_rgb=True, ratio_range=(1, 4)),
            dict(type="MinIoURandomCrop", min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
            dict(type="Resize", scale=(512, 512), keep_ratio=False),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(833, 500), keep_ratio=True),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
            ),
        ],
    ),
)
train_cfg = dict(max_epochs=100)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=100, milestones=[75, 95], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)

# Table A1 evaluates one training at three epochs: its share of the schedule, and the checkpoints kept.
test_cfg = dict(type="MarkLoop", mark=None)
default_hooks = dict(checkpoint=dict(keep=(0.5, 0.75)))
