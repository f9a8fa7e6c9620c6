"""What the parts of a run take: a hook of ``suite calibrate``, which no other run has."""

import time
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from suite.files import write_json
from suite.runs.directory import RunDirectory


@HOOKS.register_module()
class StopwatchHook(Hook):
    """Times a training of at least two epochs of four passes, and an evaluation, and writes stopwatch.json.

    It holds seconds per ``forward_pass``, of hooks after an epoch's ``last_pass``, per ``epoch`` beside both,
    and per ``image`` tested.

    A pass is timed in the second half of each epoch, when caches are warm and kernels are chosen, without the
    last one, after which hooks may look on. An epoch's own time lies between the last pass of the first epoch
    and the first one of the second. Images are timed from the end of the first batch.
    """

    priority = "LOWEST"  # after all other hooks, whose time counts

    def __init__(self) -> None:
        self.ends: list[list[float]] = []
        self.numbers: dict[str, float] = {}

    def before_train_epoch(self, runner: Runner) -> None:
        """Open a list for the epoch."""
        self.ends.append([])

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Note when a pass ended."""
        count = len(runner.train_dataloader)
        # Only where it is read: a GPU that is waited for in each pass is slower.
        self.ends[-1].append(_now(wait=batch_idx in (0, count // 2 - 1, count - 2, count - 1)))

    def after_train(self, runner: Runner) -> None:
        """Reckon up the training."""
        halves = [ends[len(ends) // 2 - 1 : -1] for ends in self.ends]
        spent = sum(half[-1] - half[0] for half in halves)
        forward_pass = spent / sum(len(half) - 1 for half in halves)
        first, second = self.ends[:2]
        self.numbers = {
            "forward_pass": forward_pass,
            "last_pass": max(0.0, first[-1] - first[-2] - forward_pass),
            "epoch": max(0.0, second[0] - first[-1] - forward_pass),
        }

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self.tested: list[tuple[int, float]] = [(0, _now())]

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note how many images a batch had, and when it ended."""
        self.tested.append((len(outputs), _now()))

    def after_test(self, runner: Runner) -> None:
        """Write the file."""
        batches = self.tested[1:] if len(self.tested) > 2 else self.tested
        image = (batches[-1][1] - batches[0][1]) / sum(count for count, _ in batches[1:])
        if is_main_process():
            write_json(RunDirectory(Path(runner.work_dir)).stopwatch_file, {**self.numbers, "image": image})


def _now(wait: bool = True) -> float:
    """The time in seconds; ``wait``: after a GPU has done what it still had to do."""
    if wait and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
