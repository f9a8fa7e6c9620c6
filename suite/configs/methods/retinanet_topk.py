"""RetinaNet trained on the K anchors of highest IoU of each object: row "K anchors" of LTM's Table 1.

The bags of LTM with a hand-made assignment: every anchor of a bag is positive, every other one negative,
none is ignored. An anchor in several bags belongs to the object with which it has the highest IoU.
"""

_base_ = "./retinanet.py"

model = dict(train_cfg=dict(assigner=dict(_delete_=True, type="TopKIoUAssigner", topk=40)))

suite = dict(
    label="RetinaNet (top-K anchors)",
    paper="ltm_tpami2021",
    options=dict(K="model.train_cfg.assigner.topk"),
)
