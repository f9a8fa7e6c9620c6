"""RetinaNet (Lin et al., ICCV 2017), the baseline of LTM's tables: the config released with LTM, mmdet 1's.

R-50 FPN 1x: AP 35.6 on val2017 (mmdet 1), 35.7 on test-dev (LTM Table 1). Smooth L1 with beta 0.11, gradients
clipped at 35, P6 from C5. `retinanet_maskrcnn_benchmark` is the baseline in the tables of FreeAnchor and PAA,
`retinanet_mmdet` that of mmdet 2 and 3.
"""

_base_ = "../_base_/retinanet.py"

optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))

suite = dict(label="RetinaNet")
