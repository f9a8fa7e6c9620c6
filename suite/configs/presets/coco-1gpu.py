"""COCO 2017 on one GPU with the memory for 16 images a step; learning rate and schedule as published.

Box losses are averaged over the images of a GPU in FreeAnchor, LTM and PAA: one GPU with 16 images averages
over 16 where the authors' 8 GPUs averaged over 2. ACCUMULATE=8 averages over 2, and needs the memory for 2.
"""

train_dataloader = dict(batch_size=16, num_workers=8)
test_dataloader = dict(num_workers=4)

# Ranks the logits of all 32 images, where the authors' 4 GPUs ranked those of 8 each.
_alrp = (
    "alrp_retinanet", "alrp_atss", "alrp_foveabox", "alrp_faster_rcnn", "ap_loss_retinanet",
    "ap_loss_foveabox", "retinanet_500", "atss_500", "foveabox_500", "faster_rcnn_500",
    "faster_rcnn_giou_500",
)  # fmt: skip

suite = dict(
    dataset=dict(type="coco", root="data/coco"),
    cpus=12,
    gpus=1,
    seeds=[0],
    full_scale=True,
    by_method=dict(
        cornernet=dict(batch=48),
        alrp_atss_800=dict(batch=16),
        **{name: dict(batch=32) for name in _alrp},
    ),
)

del _alrp
