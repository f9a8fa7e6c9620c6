"""ResNeXt-101 64x4d with modulated deformable convolutions (DCNv2) in stages C4 and C5, as released with PAA.

The released towers have one in their last layer too; here they stay as they are.
"""

_base_ = "./x101_64x4d.py"

model = dict(
    backbone=dict(
        dcn=dict(type="DCNv2", deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, False, True, True),
    )
)
