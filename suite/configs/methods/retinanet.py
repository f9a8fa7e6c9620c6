"""RetinaNet (Lin et al., ICCV 2017), the baseline of every table. R-50 FPN 1x, AP about 36.5 on val2017."""

_base_ = [
    "../_base_/retina_head.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    bbox_head=dict(
        type="RetinaHead",
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0],
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(
            type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1
        ),
        sampler=dict(type="PseudoSampler"),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
)

suite = dict(
    label="RetinaNet",
    paper="retinanet_iccv2017",
    options=dict(
        lr="optim_wrapper.optimizer.lr",
        gamma="model.bbox_head.loss_cls.gamma",
        alpha="model.bbox_head.loss_cls.alpha",
        prior="model.bbox_head.init_cfg.override.bias_prob",
    ),
)
