"""Libra R-CNN (Pang et al., CVPR 2019): mmdet's ``libra-faster-rcnn_r50_fpn_1x_coco``.

R-50 FPN 1x: AP 38.3 on COCO val2017 (mmdet); published 41.1 with R-101, 43.0 with X-101-64x4d. Differs from
mmdet: warm-up from a third of the learning rate.
"""

_base_ = [
    "../_base_/faster_rcnn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    neck=[
        dict(type="FPN", in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
        dict(type="BFP", in_channels=256, num_levels=5, refine_level=2, refine_type="non_local"),
    ],
    roi_head=dict(
        bbox_head=dict(
            loss_bbox=dict(
                _delete_=True, type="BalancedL1Loss", alpha=0.5, gamma=1.5, beta=1.0, loss_weight=1.0
            )
        )
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(neg_pos_ub=5), allowed_border=-1),
        rcnn=dict(
            sampler=dict(
                _delete_=True,
                type="CombinedSampler",
                num=512,
                pos_fraction=0.25,
                add_gt_as_proposals=True,
                pos_sampler=dict(type="InstanceBalancedPosSampler"),
                neg_sampler=dict(type="IoUBalancedNegSampler", floor_thr=-1, floor_fraction=0, num_bins=3),
            )
        ),
    ),
)

optim_wrapper = dict(optimizer=dict(lr=0.02))

suite = dict(
    label="Libra R-CNN",
    paper="libra_rcnn_cvpr2019",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
