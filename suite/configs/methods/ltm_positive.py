"""LTM without its negative matching function: row "LTM (M+)" of the paper's ablation.

L+ over the bags and the focal loss over the pairs outside them; within a bag nothing pushes a score down. The
paper's numbers in that row are FreeAnchor's own (R-50, same AP in both papers), which also has the loss of
the background among the bag's anchors: compare the row with `free_anchor` as well.
"""

_base_ = "./ltm.py"

model = dict(bbox_head=dict(negative_matching="none"))

suite = dict(label="LTM (M+)", paper="ltm_tpami2021")
