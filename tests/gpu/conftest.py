"""The small dataset and runs, on a GPU."""

import pytest
import torch
from training_runs import _one_thread, dataset, make_run

__all__ = ["_one_thread", "dataset", "make_run"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is here where torch sees no GPU, and say so."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="torch sees no GPU"))
