"""RetinaNet with focal and smooth L1 loss in the setting of aLRP Loss: the rebuttal's "Focal L.+SL1".

Not among the released configs: anchors, box coder and milestones are those of `alrp_retinanet`, smooth L1 has
RetinaNet's beta of 0.11, and the learning rate is RetinaNet's 0.01 for 16 images, twice that for 32.
"""

_base_ = "./alrp_retinanet.py"

model = dict(
    bbox_head=dict(
        type="RetinaHead",
        loss_cls=dict(
            _delete_=True, type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
        ),
        loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=0.11, loss_weight=1.0),
    ),
    train_cfg=dict(sampler=dict(type="PseudoSampler")),
)
optim_wrapper = dict(optimizer=dict(lr=0.02))

suite = dict(
    label="RetinaNet (512, SSD augmentation)",
    options=dict(
        _delete_=True,
        lr="optim_wrapper.optimizer.lr",
        mark="test_cfg.mark",
        gamma="model.bbox_head.loss_cls.gamma",
        alpha="model.bbox_head.loss_cls.alpha",
    ),
)
