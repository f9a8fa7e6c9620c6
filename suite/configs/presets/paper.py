"""COCO 2017 on 8 GPUs, 2 images each: every method exactly as its own file has it.

The papers report about 5 hours of training a run on 8 V100, of R-50 by the 1x schedule.
"""

suite = dict(
    dataset=dict(type="coco", root="data/coco"),
    cpus=24,
    gpus=8,
    seeds=[0],
    full_scale=True,
)
