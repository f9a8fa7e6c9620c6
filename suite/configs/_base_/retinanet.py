# RetinaNet with data and schedule: IoU thresholds, focal loss, smooth L1. Its versions differ in little.
_base_ = ["./retina_head.py", "./coco_detection.py", "./schedule_1x.py", "./runtime.py"]

model = dict(
    bbox_head=dict(
        type="RetinaHead",
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0],
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=1.0),
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
    paper="retinanet_iccv2017",
    options=dict(
        lr="optim_wrapper.optimizer.lr",
        gamma="model.bbox_head.loss_cls.gamma",
        alpha="model.bbox_head.loss_cls.alpha",
        prior="model.bbox_head.init_cfg.override.bias_prob",
        detections="model.test_cfg.max_per_img",
    ),
)
