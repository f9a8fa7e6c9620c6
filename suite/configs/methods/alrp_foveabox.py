"""FoveaBox with aLRP Loss, as released: GIoU of decoded boxes. R-50: AP 39.7 on COCO val2017."""

_base_ = "./foveabox_500.py"

model = dict(
    bbox_head=dict(
        type="RankingFoveaHead",
        loss_cls=dict(
            _delete_=True,
            type="ALRPLoss",
            use_sigmoid=True,
            delta=1.0,
            tau=0.5,
            self_balance=True,
            w_r=None,
            all_ranks=False,
        ),
        loss_bbox=dict(_delete_=True, type="GIoULoss"),
    ),
)
custom_hooks = [
    dict(type="RunLogHook"),
    dict(type="AssignmentHook"),
    dict(type="ValidationHook"),
    dict(type="SelfBalanceHook"),
]
optim_wrapper = dict(optimizer=dict(lr=0.008))

suite = dict(
    label="aLRP Loss (FoveaBox)",
    options=dict(
        _delete_=True,
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
