"""The small dataset that runs are identified and trained with."""

from training_runs import _one_thread
from training_runs import dataset as rectangles

__all__ = ["_one_thread", "rectangles"]
