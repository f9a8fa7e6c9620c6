"""Cascade R-CNN (Cai and Vasconcelos, CVPR 2018): mmdet's ``cascade-rcnn_r50_fpn_1x_coco``.

R-50 FPN 1x: AP 40.3 on COCO val2017 (mmdet); published 42.8 with R-101 on test-dev. Differs from mmdet:
warm-up from a third of the learning rate.
"""

_base_ = [
    "../_base_/faster_rcnn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]


def _box_head(stds):
    return dict(
        type="Shared2FCBBoxHead",
        in_channels=256,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=80,
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0, 0.0, 0.0, 0.0], target_stds=stds),
        reg_class_agnostic=True,
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
    )


def _stage(iou):
    return dict(
        assigner=dict(
            type="MaxIoUAssigner",
            pos_iou_thr=iou,
            neg_iou_thr=iou,
            min_pos_iou=iou,
            match_low_quality=False,
            ignore_iof_thr=-1,
        ),
        sampler=dict(
            type="RandomSampler", num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True
        ),
        pos_weight=-1,
        debug=False,
    )


model = dict(
    type="CascadeRCNN",
    rpn_head=dict(loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=1.0 / 9.0, loss_weight=1.0)),
    roi_head=dict(
        type="CascadeRoIHead",
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            _box_head([0.1, 0.1, 0.2, 0.2]),
            _box_head([0.05, 0.05, 0.1, 0.1]),
            _box_head([0.033, 0.033, 0.067, 0.067]),
        ],
    ),
    train_cfg=dict(
        rpn=dict(allowed_border=0),
        rpn_proposal=dict(max_per_img=2000),
        rcnn=[_stage(0.5), _stage(0.6), _stage(0.7)],
    ),
)
del _box_head, _stage

optim_wrapper = dict(optimizer=dict(lr=0.02))

suite = dict(
    label="Cascade R-CNN",
    paper="cascade_rcnn_cvpr2018",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
