"""ResNet-50 as FreeAnchor, ATSS and PAA train it: Caffe's weights and images, batch norm wholly frozen."""

model = dict(
    data_preprocessor=dict(mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        depth=50,
        norm_cfg=dict(requires_grad=False),
        style="caffe",
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://detectron2/resnet50_caffe"),
    ),
)
