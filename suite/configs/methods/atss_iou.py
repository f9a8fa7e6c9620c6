"""ATSS with IoU prediction in place of centerness: PAA's Table 1 (right), last row.

The authors released no config of it; loss weights are those of their other methods with IoU prediction, 1.3
and 0.5. R-50 FPN with 135k iterations: AP 39.8 on COCO val2017.
"""

_base_ = "./atss.py"

model = dict(
    bbox_head=dict(auxiliary="iou", loss_bbox=dict(loss_weight=1.3), loss_centerness=dict(loss_weight=0.5))
)

suite = dict(label="ATSS (IoU prediction)", paper="paa_eccv2020")
