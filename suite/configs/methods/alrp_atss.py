"""aLRP Loss with ATSS's assignment, as released: RetinaNet's head, 2 square anchors a location.

R-50, 512 pixels, 100 epochs: AP 41.0 on COCO val2017, 41.3 on test-dev. Milestones 75 and 95.
"""

_base_ = "../_base_/alrp_loss.py"

model = dict(
    bbox_head=dict(anchor_generator=dict(ratios=[1.0])),
    train_cfg=dict(assigner=dict(type="ATSSAssigner", topk=9), allowed_border=-1, pos_weight=-1, debug=False),
)

suite = dict(
    label="aLRP Loss (ATSS)",
    paper="alrp_rebuttal_neurips2020",
    without=("schedule", "train_scales", "test_scales"),
    options=dict(
        topk="model.train_cfg.assigner.topk",
        delta="model.bbox_head.loss_cls.delta",
        SB="model.bbox_head.loss_cls.self_balance",
        w_r="model.bbox_head.loss_cls.w_r",
        tau="model.bbox_head.loss_cls.tau",
        localisation="model.bbox_head.loss_bbox.type",
        all_ranks="model.bbox_head.loss_cls.all_ranks",
        lr="optim_wrapper.optimizer.lr",
        mark="test_cfg.mark",
    ),
)
