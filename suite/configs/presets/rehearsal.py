"""Every run of preset paper for a handful of steps, on whatever is there: what would fail tonight fails now.

Config, initial weights, launch, image sizes and images per process are those of preset paper; on a machine
without GPUs two processes talk over gloo. Two epochs of 16 images of the COCO root are trained; after the
first checkpoint each run is killed and started again; then 8 images are evaluated and the report is rendered.
Numbers in it mean nothing.
"""

_base_ = "./paper.py"

custom_hooks = [
    dict(type="RunLogHook", interval=1),
    dict(type="AssignmentHook", interval=1, images=2),
    dict(type="ValidationHook", images=4),
]

suite = dict(
    dataset=dict(excerpt=dict(train_images=16, val_images=8)),
    processes=2,
    rehearsal=True,
    over_recipes=dict(train_cfg=dict(max_epochs=2)),
)
