"""Faster R-CNN with FPN (Ren et al., NeurIPS 2015): mmdet's ``faster-rcnn_r50_fpn_1x_coco``.

R-50 FPN 1x: AP 37.4 on COCO val2017 (mmdet); published 36.2 with R-101 on test-dev. Differs from mmdet:
warm-up from a third of the learning rate.
"""

_base_ = [
    "../_base_/faster_rcnn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

optim_wrapper = dict(optimizer=dict(lr=0.02))

suite = dict(
    label="Faster R-CNN",
    paper="faster_rcnn_nips2015",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
