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

# aLRP Loss was trained on 4 GPUs with 8 images each, and ranks the logits of one GPU.
_alrp = (
    "alrp_retinanet", "alrp_atss", "alrp_foveabox", "alrp_faster_rcnn", "ap_loss_retinanet",
    "ap_loss_foveabox", "retinanet_500", "atss_500", "foveabox_500", "faster_rcnn_500",
    "faster_rcnn_giou_500",
)  # fmt: skip

suite = dict(
    dataset=dict(excerpt=dict(train_images=16, val_images=8)),
    processes=2,
    rehearsal=True,
    over_recipes=dict(train_cfg=dict(max_epochs=2)),
    by_method=dict(
        alrp_atss_800=dict(gpus=4, batch=16),
        **{name: dict(gpus=4, batch=32) for name in _alrp},
    ),
)

del _alrp
