"""The training of one run, as mmengine builds it from a config; importing this registers all of it."""

from suite.training.data import EpochSampler, SeededCocoDataset
from suite.training.hooks import LatestCheckpointHook, RunLogHook
from suite.training.runner import EpochSeedHook, SuiteRunner

__all__ = [
    "EpochSampler",
    "EpochSeedHook",
    "LatestCheckpointHook",
    "RunLogHook",
    "SeededCocoDataset",
    "SuiteRunner",
]
