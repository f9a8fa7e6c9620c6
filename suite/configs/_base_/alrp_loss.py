# aLRP Loss on RetinaNet's head with 6 anchors per location, and the end of its self-balance's periods.
_base_ = ["./retina_head.py", "./ssd_augmentation.py"]

model = dict(
    bbox_head=dict(
        type="RankingRetinaHead",
        anchor_generator=dict(scales_per_octave=2),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
        loss_cls=dict(
            type="ALRPLoss",
            use_sigmoid=True,
            delta=1.0,
            tau=0.5,
            self_balance=True,
            w_r=None,
            all_ranks=False,
        ),
        loss_bbox=dict(type="GIoULoss"),
    ),
)
custom_hooks = [
    dict(type="RunLogHook"),
    dict(type="AssignmentHook"),
    dict(type="ValidationHook"),
    dict(type="SelfBalanceHook"),
]
optim_wrapper = dict(optimizer=dict(lr=0.008))
