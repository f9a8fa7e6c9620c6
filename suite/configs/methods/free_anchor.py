"""FreeAnchor (Zhang et al., NeurIPS 2019). R-50 FPN 1x, AP 38.4 to 38.7 on val2017 with the authors' code.

The authors' settings, where mmdet's config departs from them too: prior 0.02, P6 from P5, learning rate of
biases doubled and their weight decay off, no gradient clipping. Not taken over: the Caffe backbone and the
box widths with +1.
"""

_base_ = [
    "../_base_/retina_head.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

model = dict(
    neck=dict(add_extra_convs="on_output"),
    bbox_head=dict(
        type="FreeAnchorHead",
        bag_size=50,
        iou_threshold=0.6,
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
        # alpha weighs the loss of the bags, 1 - alpha that of the background.
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.5, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=0.11, loss_weight=0.75),
        init_cfg=dict(override=dict(bias_prob=0.02)),
    ),
)

optim_wrapper = dict(paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0))

suite = dict(
    label="FreeAnchor",
    paper="freeanchor_neurips2019",
    options=dict(
        n="model.bbox_head.bag_size",
        t="model.bbox_head.iou_threshold",
        alpha="model.bbox_head.loss_cls.alpha",
        gamma="model.bbox_head.loss_cls.gamma",
        beta="model.bbox_head.loss_bbox.loss_weight",
        prior="model.bbox_head.init_cfg.override.bias_prob",
        lr="optim_wrapper.optimizer.lr",
    ),
)
