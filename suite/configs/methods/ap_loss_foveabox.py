"""FoveaBox with AP Loss and smooth L1, as released with aLRP Loss: AP 36.5 on COCO val2017."""

_base_ = "./foveabox_500.py"

model = dict(
    bbox_head=dict(
        type="RankingFoveaHead",
        loss_cls=dict(_delete_=True, type="APLoss", use_sigmoid=True, delta=1.0, all_ranks=False),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.002))

suite = dict(
    label="AP Loss (FoveaBox)",
    options=dict(
        _delete_=True,
        delta="model.bbox_head.loss_cls.delta",
        all_ranks="model.bbox_head.loss_cls.all_ranks",
        lr="optim_wrapper.optimizer.lr",
        mark="test_cfg.mark",
    ),
)
