"""Faster R-CNN with cross entropy and GIoU loss in the setting of aLRP Loss: AP 38.2 on COCO val2017."""

_base_ = "./faster_rcnn_500.py"

model = dict(
    roi_head=dict(
        bbox_head=dict(
            reg_decoded_bbox=True, loss_bbox=dict(_delete_=True, type="GIoULoss", loss_weight=10.0)
        )
    )
)

suite = dict(label="Faster R-CNN (GIoU)")
