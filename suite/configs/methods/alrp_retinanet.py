"""RetinaNet with aLRP Loss (Oksuz et al., NeurIPS 2020) with the settings of the released code.

R-50, 512 pixels, 100 epochs: AP 39.0 on COCO val2017, 39.5 on test-dev. Milestones 60 and 80, GIoU loss.
"""

_base_ = "../_base_/alrp_loss.py"

model = dict(
    train_cfg=dict(
        assigner=dict(
            type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1
        ),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=100, milestones=[60, 80], gamma=0.1),
]

suite = dict(
    label="aLRP Loss (RetinaNet)",
    paper="alrp_rebuttal_neurips2020",
    without=("schedule", "train_scales", "test_scales"),
    options=dict(
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
