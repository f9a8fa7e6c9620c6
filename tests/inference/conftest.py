"""The small dataset and runs that trainings are tested with."""

from registries import mmdet_scope
from training_runs import _one_thread, dataset, finished_run, make_run

__all__ = ["_one_thread", "dataset", "finished_run", "make_run", "mmdet_scope"]
