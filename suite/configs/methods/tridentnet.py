"""TridentNet (Li et al., ICCV 2019) with R-101 and no FPN, after mmdet's ``tridentnet_r50-caffe_1x_coco``.

mmdet has it with R-50 only (AP 37.7 on COCO val2017); depth and weights are R-101's here, as in the published
row: 42.7 on test-dev. Its backbone is its own, so it takes no other.
"""

_base_ = [
    "../_base_/faster_rcnn.py",
    "../_base_/coco_detection.py",
    "../_base_/schedule_1x.py",
    "../_base_/runtime.py",
]

_weights = dict(type="Pretrained", checkpoint="open-mmlab://detectron2/resnet101_caffe")
model = dict(
    type="TridentFasterRCNN",
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        type="TridentResNet",
        depth=101,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
        trident_dilations=(1, 2, 3),
        num_branch=3,
        test_branch_idx=1,
        norm_cfg=dict(requires_grad=False),
        style="caffe",
        init_cfg=_weights,
    ),
    neck=None,
    rpn_head=dict(
        in_channels=1024,
        feat_channels=1024,
        anchor_generator=dict(scales=[2, 4, 8, 16, 32], strides=[16]),
    ),
    roi_head=dict(
        type="TridentRoIHead",
        num_branch=3,
        test_branch_idx=1,
        shared_head=dict(
            type="ResLayer",
            depth=101,
            stage=3,
            stride=2,
            dilation=1,
            style="caffe",
            norm_cfg=dict(type="BN", requires_grad=False),
            norm_eval=True,
            init_cfg=_weights,
        ),
        bbox_roi_extractor=dict(roi_layer=dict(output_size=14), out_channels=1024, featmap_strides=[16]),
        bbox_head=dict(
            _delete_=True,
            type="BBoxHead",
            with_avg_pool=True,
            roi_feat_size=7,
            in_channels=2048,
            num_classes=80,
            bbox_coder=dict(
                type="DeltaXYWHBBoxCoder",
                target_means=[0.0, 0.0, 0.0, 0.0],
                target_stds=[0.1, 0.1, 0.2, 0.2],
            ),
            reg_class_agnostic=False,
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=12000, max_per_img=500),
        rcnn=dict(sampler=dict(num=128, pos_fraction=0.5, add_gt_as_proposals=False)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=6000)),
)
del _weights

optim_wrapper = dict(optimizer=dict(lr=0.02))

suite = dict(
    label="TridentNet",
    paper="tridentnet_iccv2019",
    without=["backbone"],
    full_scale_only="its backbone of three branches has no small form",
    options=dict(lr="optim_wrapper.optimizer.lr"),
)
