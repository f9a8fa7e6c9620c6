"""FSAF (Zhu et al., CVPR 2019), its anchor-free branch alone: mmdet's ``fsaf_r50_fpn_1x_coco``.

R-50 FPN 1x: AP 37.4 on COCO val2017 (mmdet). The published rows (40.9 with R-101, 42.9 with X-101) have
RetinaNet's anchors beside it, which mmdet does not implement. Differs from mmdet: warm-up from a third of the
learning rate.
"""

_base_ = [
    "../_base_/retina_head.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    type="FSAF",
    bbox_head=dict(
        type="FSAFHead",
        reg_decoded_bbox=True,
        init_cfg=None,  # the head's own, which starts the distances at a quarter of their unit
        # One "anchor" a location stands for the cell of the feature map.
        anchor_generator=dict(
            _delete_=True,
            type="AnchorGenerator",
            octave_base_scale=1,
            scales_per_octave=1,
            ratios=[1.0],
            strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(type="TBLRBBoxCoder", normalizer=4.0),
        loss_cls=dict(
            type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0, reduction="none"
        ),
        loss_bbox=dict(type="IoULoss", eps=1e-6, loss_weight=1.0, reduction="none"),
    ),
    train_cfg=dict(
        assigner=dict(type="CenterRegionAssigner", pos_scale=0.2, neg_scale=0.2, min_pos_iof=0.01),
        sampler=dict(type="PseudoSampler"),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
)

optim_wrapper = dict(clip_grad=dict(max_norm=10, norm_type=2))

suite = dict(
    label="FSAF",
    paper="fsaf_cvpr2019",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
