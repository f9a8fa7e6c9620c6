"""RetinaNet as mmdet 2 and 3 train it, ``retinanet_r50_fpn_1x_coco``: L1 on the boxes, no clipping.

R-50 FPN 1x: AP 36.5 on val2017 (mmdet), 0.9 above the baseline of the papers.
"""

_base_ = "../_base_/retinanet.py"

model = dict(bbox_head=dict(loss_bbox=dict(_delete_=True, type="L1Loss", loss_weight=1.0)))

param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]

suite = dict(label="RetinaNet (mmdet)")
