"""Datasets: the generated shapes, COCO folders, and statistics of their boxes."""

from suite.data.dataset import Dataset, Split, describe, prepare
from suite.data.histogram import histogram

__all__ = ["Dataset", "Split", "describe", "histogram", "prepare"]
