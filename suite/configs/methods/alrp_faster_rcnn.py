"""Faster R-CNN with aLRP Loss in the proposal network and in the box head, as released: AP 40.7 on val2017.

Nothing is sampled: all anchors and all proposals are ranked. The proposal network's terms have tau 0.7, its
threshold for positives, and weight 0.2.
"""

_base_ = "./faster_rcnn_500.py"

_alrp_ = dict(type="ALRPLoss", use_sigmoid=True, delta=1.0, self_balance=True, w_r=None, all_ranks=False)
_coder_ = dict(type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2])
model = dict(
    rpn_head=dict(
        type="RankingRPNHead",
        bbox_coder=_coder_,
        loss_cls=dict(_delete_=True, **_alrp_, tau=0.7, loss_weight=0.2),
        loss_bbox=dict(_delete_=True, type="GIoULoss"),
        init_cfg=dict(
            type="Normal",
            layer="Conv2d",
            std=0.01,
            override=dict(type="Normal", name="rpn_cls", std=0.01, bias_prob=0.01),
        ),
    ),
    roi_head=dict(
        bbox_head=dict(
            type="RankingBBoxHead",
            reg_decoded_bbox=True,
            loss_cls=dict(_delete_=True, **_alrp_, tau=0.5, loss_weight=1.0),
            loss_bbox=dict(_delete_=True, type="GIoULoss"),
        )
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(_delete_=True, type="PseudoSampler")),
        rcnn=dict(sampler=dict(_delete_=True, type="PseudoSampler")),
    ),
)
del _alrp_, _coder_

custom_hooks = [
    dict(type="RunLogHook"),
    dict(type="AssignmentHook"),
    dict(type="ValidationHook"),
    dict(type="SelfBalanceHook"),
]
optim_wrapper = dict(optimizer=dict(lr=0.012))

suite = dict(
    label="aLRP Loss (Faster R-CNN)",
    options=dict(
        _delete_=True,
        delta=["model.rpn_head.loss_cls.delta", "model.roi_head.bbox_head.loss_cls.delta"],
        SB=["model.rpn_head.loss_cls.self_balance", "model.roi_head.bbox_head.loss_cls.self_balance"],
        w_r=["model.rpn_head.loss_cls.w_r", "model.roi_head.bbox_head.loss_cls.w_r"],
        lr="optim_wrapper.optimizer.lr",
        mark="test_cfg.mark",
    ),
)
