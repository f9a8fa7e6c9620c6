"""The training of one run, as mmengine builds it from a config; importing this registers all of it."""

from suite.training.data import EpochSampler, SeededCocoDataset
from suite.training.fast import FastModel
from suite.training.hooks import LatestCheckpointHook, ProgressHook, RunLogHook
from suite.training.preprocessor import AsynchronousPreprocessor
from suite.training.runner import AsynchronousOptimWrapper, EpochSeedHook, SuiteRunner

__all__ = [
    "AsynchronousOptimWrapper",
    "AsynchronousPreprocessor",
    "EpochSampler",
    "EpochSeedHook",
    "FastModel",
    "LatestCheckpointHook",
    "ProgressHook",
    "RunLogHook",
    "SeededCocoDataset",
    "SuiteRunner",
]
