"""COCO 2017 on 8 GPUs, 2 images each: every method exactly as its own file has it. About 8 hours a run."""

suite = dict(
    dataset=dict(type="coco", root="data/coco"),
    cpus=24,
    gpus=8,
    seeds=[0],
    full_scale=True,
    seconds_per_run=30000,
    disk_mb_per_run=700,
)
