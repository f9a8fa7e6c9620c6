"""ResNet-101 with modulated deformable convolutions (DCNv2) in stages C3 to C5.

The rows of ATSS and PAA also have one in the last layer of each tower; here the towers stay as they are.
"""

_base_ = "./r101.py"

model = dict(
    backbone=dict(
        dcn=dict(type="DCNv2", deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
