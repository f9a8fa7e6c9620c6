"""RetinaNet as maskrcnn-benchmark trains it, on which the code of FreeAnchor, ATSS and PAA rests.

The baseline in the tables of FreeAnchor and PAA, which differs from ``free_anchor`` in matching, loss and
prior alone. R-50 FPN: AP 35.7 on test-dev after 90k iterations (FreeAnchor Table 2), 36.7 on val2017 after
135k (PAA Table 2). P6 from P5; biases with twice the rate and without decay; smooth L1 of deltas divided by
(0.1, 0.1, 0.2, 0.2), a quarter of its sum over the positives. Not taken over: the Caffe backbone, the box
widths with +1, and the images of a GPU beside its positives in the divisor of the focal loss.
"""

_base_ = "../_base_/retinanet.py"

model = dict(
    neck=dict(add_extra_convs="on_output"),
    bbox_head=dict(
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_bbox=dict(loss_weight=0.25),
    ),
)

optim_wrapper = dict(paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0))

suite = dict(label="RetinaNet (maskrcnn-benchmark)")
