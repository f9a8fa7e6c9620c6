# What every run shares besides data, schedule and model: registries, hooks, loop and metric of the suite.
default_scope = "mmdet"
custom_imports = dict(
    imports=["suite.detectors", "suite.inference", "suite.training", "suite.telemetry"],
    allow_failed_imports=False,
)
runner_type = "SuiteRunner"

default_hooks = dict(checkpoint=dict(type="LatestCheckpointHook"))
custom_hooks = [dict(type="RunLogHook"), dict(type="AssignmentHook"), dict(type="ValidationHook")]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
