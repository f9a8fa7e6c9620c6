"""FoveaBox (Kong et al., TIP 2020): mmdet's ``fovea_r50_fpn_4xb4-1x_coco``.

R-50 FPN 1x: AP 36.5 on COCO val2017 (mmdet); published 40.6 with R-101, 42.1 with X-101. Differs from mmdet:
warm-up from a third of the learning rate. The images of a GPU may have no positive point, as those of small
objects lie between the points; the box branch is unused in that step, and several GPUs have to know.
"""

_base_ = [
    "../_base_/foveabox.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

suite = dict(
    label="FoveaBox",
    paper="foveabox_tip2020",
    options=dict(sigma="model.bbox_head.sigma", lr="optim_wrapper.optimizer.lr"),
)
