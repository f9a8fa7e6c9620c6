"""The one-anchor RetinaNet with IoU prediction: PAA's Table 1 (right), second row "IoU".

The authors' config ``ret_iou_R_50_FPN_1.5x``: GIoU loss with weight 1.3, IoU prediction with weight 0.5. R-50
FPN with 135k iterations: AP 36.0 on COCO val2017.
"""

_base_ = "./retinanet_one_anchor.py"

model = dict(bbox_head=dict(auxiliary="iou", loss_bbox=dict(loss_weight=1.3)))

suite = dict(label="RetinaNet (one anchor, IoU prediction)", paper="paa_eccv2020")
