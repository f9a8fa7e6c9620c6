"""The training of one run, as mmengine builds it from a config; importing this registers all of it."""

from suite.training.assignment_log import AssignmentHook
from suite.training.data import EpochSampler, SeededCocoDataset
from suite.training.hooks import LatestCheckpointHook, RunLogHook
from suite.training.loop import DetectionLoop
from suite.training.metric import DetectionDump
from suite.training.multi_scale import MultiScaleLoop
from suite.training.runner import EpochSeedHook, SuiteRunner
from suite.training.validation import ValidationHook

__all__ = [
    "AssignmentHook",
    "DetectionDump",
    "DetectionLoop",
    "EpochSampler",
    "EpochSeedHook",
    "LatestCheckpointHook",
    "MultiScaleLoop",
    "RunLogHook",
    "SeededCocoDataset",
    "SuiteRunner",
    "ValidationHook",
]
