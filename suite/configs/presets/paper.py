"""COCO 2017 on 8 GPUs, 2 images each: every method exactly as its own file has it.

The papers report about 5 hours of training a run on 8 V100, of R-50 by the 1x schedule.
"""

# aLRP Loss was trained on 4 GPUs with 8 images each, and ranks the logits of one GPU.
_alrp = (
    "alrp_retinanet", "alrp_atss", "alrp_foveabox", "alrp_faster_rcnn", "ap_loss_retinanet",
    "ap_loss_foveabox", "retinanet_500", "atss_500", "foveabox_500", "faster_rcnn_500",
    "faster_rcnn_giou_500",
)  # fmt: skip

suite = dict(
    dataset=dict(type="coco", root="data/coco"),
    cpus=24,
    gpus=8,
    seeds=[0],
    full_scale=True,
    by_method=dict(
        alrp_atss_800=dict(gpus=4, batch=16),
        **{name: dict(gpus=4, batch=32) for name in _alrp},
    ),
)

del _alrp
