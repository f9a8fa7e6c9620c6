"""What the runner leaves out of mmengine's, and the random state of an epoch."""

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from training_runs import MakeRun

from suite.training import EpochSeedHook


def _hooks(run: Path) -> list[str]:
    config = Config.fromfile(run / "config.py")
    config.work_dir = str(run)
    return [type(hook).__name__ for hook in RUNNERS.build(config).hooks]


def test_the_suite_replaces_logging_visualisation_and_checkpoints(make_run: MakeRun) -> None:
    stock = {
        "timer": {"type": "IterTimerHook"},
        "logger": {"type": "LoggerHook"},
        "visualization": {"type": "DetVisualizationHook"},
        "checkpoint": {"type": "CheckpointHook"},
        "param_scheduler": {"type": "ParamSchedulerHook"},
    }
    run = make_run(change=lambda config: config.update(default_hooks=stock))
    assert sorted(_hooks(run)) == [
        "DistSamplerSeedHook", "EpochSeedHook", "LatestCheckpointHook", "ParamSchedulerHook", "ProgressHook",
        "RunLogHook",
    ]  # fmt: skip
    assert {path.name for path in run.iterdir()} == {"config.py", "spec.json"}


def _draws(seed: int, epoch: int, batches: int = 1) -> tuple[float, ...]:
    """What a training step draws in an epoch; the state before it is arbitrary."""
    torch.seed()
    for batch in range(batches):
        EpochSeedHook().before_train_iter(SimpleNamespace(seed=seed, epoch=epoch, rank=0), batch)
    return float(torch.rand(1)), float(np.random.rand()), random.random()


def test_draws_while_training_depend_on_seed_and_epoch() -> None:
    assert _draws(0, 4) == _draws(0, 4) == _draws(0, 4, batches=3)
    drawn = {_draws(0, 4), _draws(0, 5), _draws(1, 4)}
    assert len(drawn) == 3
