"""Validation AP of a trial's runs while they train, from their metrics.jsonl."""

import statistics
from collections.abc import Sequence

from suite.errors import SuiteError
from suite.files import read_json_lines
from suite.runs.directory import RunDirectory


class Curves:
    """The validation curves of a trial's runs, one a seed.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: Sequence[RunDirectory]) -> None:
        self._runs = runs
        self._size = -1
        self._given: set[int] = set()

    def new(self) -> list[tuple[int, float]]:
        """Epochs that all runs have validated since the last call, with their mean AP in percent."""
        size = sum(_size(run) for run in self._runs)
        if size == self._size:
            return []
        self._size = size
        curves = [_curve(run) for run in self._runs]
        common = sorted(set.intersection(*(set(curve) for curve in curves)))
        wanted = [epoch for epoch in common if epoch not in self._given]
        self._given.update(wanted)
        return [(epoch, statistics.fmean(100 * curve[epoch] for curve in curves)) for epoch in wanted]


def _size(run: RunDirectory) -> int:
    try:
        return run.metrics_file.stat().st_size
    except OSError:
        return 0


def _curve(run: RunDirectory) -> dict[int, float]:
    try:
        lines = read_json_lines(run.metrics_file)
    except (SuiteError, OSError):  # being replaced by a resumed training
        return {}
    return {line["epoch"]: line["val_AP"] for line in lines if "val_AP" in line}
