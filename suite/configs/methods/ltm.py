"""LTM, Learning to Match Anchors (Zhang et al., TPAMI 2021), with the settings of the released code.

R-50 FPN 1x: AP 38.4 on val2017 (Table 5), 39.2 on test-dev (Table 1). The released code and the paper
differ in three numbers: learning rate 0.005 with R-50 (paper 0.01, as released with R-101 and X-101), prior
0.01 (paper 0.02) and clipping at 10 (paper silent); the released ones stand here.
"""

_base_ = [
    "../_base_/retina_head.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    bbox_head=dict(
        type="LTMHead",
        bag_size=40,
        sample_size=None,
        negative_matching="eq25",
        neg_iou="relative",
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
        # alpha 0: the focal term sees negatives only, with weight 1 - alpha = 1.
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.0, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0 / 9.0, loss_weight=0.5),
    ),
)

optim_wrapper = dict(optimizer=dict(lr=0.005), clip_grad=dict(max_norm=10, norm_type=2))

suite = dict(
    label="LTM",
    paper="ltm_tpami2021",
    options=dict(
        K="model.bbox_head.bag_size",
        S="model.bbox_head.sample_size",
        beta="model.bbox_head.loss_bbox.loss_weight",
        gamma="model.bbox_head.loss_cls.gamma",
        prior="model.bbox_head.init_cfg.override.bias_prob",
        negative_matching="model.bbox_head.negative_matching",
        neg_iou="model.bbox_head.neg_iou",
        lr="optim_wrapper.optimizer.lr",
        detections="model.test_cfg.max_per_img",
    ),
    brings=dict(backbone=dict(r101=dict(lr=0.01), x101_64x4d=dict(lr=0.01))),
)
