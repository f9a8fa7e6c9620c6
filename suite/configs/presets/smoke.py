"""The path works: 8 steps of mini's model on 32 generated images, evaluated on 16. The AP means nothing."""

_base_ = "./mini.py"

train_cfg = dict(max_epochs=1)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4),
]
custom_hooks = [
    dict(type="RunLogHook", interval=2),
    dict(type="AssignmentHook", interval=4, images=4),
    dict(type="ValidationHook", images=8),
]
train_dataloader = dict(batch_size=4)
model = dict(backbone=dict(init_cfg=None))

suite = dict(
    dataset=dict(type="shapes", train_images=32, val_images=16, image_size=240, seed=0),
    seconds_per_run=12,
    disk_mb_per_run=10,
)
