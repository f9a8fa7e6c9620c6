"""RetinaNet with AP Loss (Chen et al., CVPR 2019) and smooth L1, as released with aLRP Loss.

R-50, 512 pixels, 100 epochs: AP 35.4 on COCO val2017, 35.7 on test-dev.
"""

_base_ = "./alrp_retinanet.py"

model = dict(
    bbox_head=dict(
        loss_cls=dict(_delete_=True, type="APLoss", use_sigmoid=True, delta=1.0, all_ranks=False),
        loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=0.002))

suite = dict(
    label="AP Loss (RetinaNet)",
    options=dict(
        _delete_=True,
        delta="model.bbox_head.loss_cls.delta",
        all_ranks="model.bbox_head.loss_cls.all_ranks",
        lr="optim_wrapper.optimizer.lr",
        mark="test_cfg.mark",
    ),
)
