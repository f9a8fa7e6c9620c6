"""ResNeXt-152 32x8d with modulated deformable convolutions (DCNv2) in stages C4 and C5, as released with PAA.

Its weights, trained on ImageNet-5k and released with Detectron, have names and a format of their own:
``suite weights`` converts them. They take BGR images.
"""

model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395], bgr_to_rgb=False),
    backbone=dict(
        type="ResNeXt",
        depth=152,
        groups=32,
        base_width=8,
        dcn=dict(type="DCNv2", deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, False, True, True),
        init_cfg=dict(type="Pretrained", checkpoint="detectron://X-152-32x8d-IN5k"),
    ),
)
