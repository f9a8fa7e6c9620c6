"""What a training leaves behind while it runs: metrics.jsonl and one checkpoint."""

import contextlib
import datetime
import json
import math
import os
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from suite.errors import SuiteError
from suite.files import append_json_line, read_json_lines, write_atomically
from suite.runs.directory import RunDirectory
from suite.runs.sharing import epoch_at, kept_checkpoint, share_file


def peak_memory_mb() -> float:
    """Peak memory of this process in MiB: of the GPU if it uses one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append a line to one of a run's files.

    Raises:
        SuiteError: It cannot be written.
    """
    try:
        append_json_line(path, line)
    except OSError as error:
        raise SuiteError(
            f"{path}: cannot write ({error.strerror}).",
            "Free disk space or make the folder writable, then start the run again: it resumes.",
        ) from error


def forget_lines_after(path: Path, step: int) -> None:
    """Drop the lines of steps that an interrupted training had done after its checkpoint, and does again."""
    lines = [line for line in read_json_lines(path) if line["step"] <= step]
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))


@HOOKS.register_module()
class RunLogHook(Hook):
    """Writes metrics.jsonl and prints a line, every ``interval`` steps and at the last step.

    A line holds the step's learning rate, and means since the line before: the loss and its terms, over the
    images of all processes; seconds per step, and seconds per step spent waiting for data. Where the steps
    between two lines span an epoch's end, their sums are kept in the checkpoint, so that an interrupted and
    resumed training writes the same values as an uninterrupted one.

    Losses stay on their device until a line is due or an epoch ends: no step waits for the GPU. What
    :func:`outside_training` encloses, telemetry and validation, counts into no time.

    Args:
        interval: Steps from line to line.

    Raises:
        SuiteError: A loss was not finite, on any process, in one of the steps since the line before (the
            checkpoint before it is kept).
    """

    # Before the schedulers step, so that the rate is the one that the step was made with.
    priority = "BELOW_NORMAL"

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self.train_seconds = 0.0
        self.mark = self.stopped_at = 0.0
        self.unread: list[dict[str, Tensor]] = []
        self._clear_window()

    def _clear_window(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def _add(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0) + 1

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take up the sums and the time that the interrupted training had reached."""
        if runner._resume and "run_log" in checkpoint:
            state = checkpoint["run_log"]
            self.train_seconds = state["train_seconds"]
            self.sums, self.counts = state["sums"], state["counts"]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the sums and the time with the checkpoint."""
        state = {"train_seconds": self.train_seconds, "sums": self.sums, "counts": self.counts}
        checkpoint["run_log"] = state

    def before_train(self, runner: Runner) -> None:
        """Forget the lines of steps that will be done again."""
        self.metrics_file = RunDirectory(Path(runner.work_dir)).metrics_file
        if is_main_process():
            forget_lines_after(self.metrics_file, runner.iter)
        self.mark = time.perf_counter()

    def before_train_epoch(self, runner: Runner) -> None:
        """Count what came between the epochs (the checkpoint) as training, but not as waiting for data."""
        now = time.perf_counter()
        self.train_seconds += now - self.mark
        self.mark = now

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note how long the step waited for its data."""
        self._add("data_seconds", time.perf_counter() - self.mark)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Keep the step's losses where they are, and write a line when it is due."""
        step = runner.iter + 1
        self.unread.append({name: value.detach() for name, value in (outputs or {}).items()})
        due = step % self.interval == 0 or step == runner.max_iters
        if due:
            self._read(runner, step)
        now = time.perf_counter()
        self._add("step_seconds", now - self.mark)
        self.train_seconds += now - self.mark
        self.mark = now
        if due:
            if is_main_process():
                self._write_line(runner, step)
            self._clear_window()

    def after_train_epoch(self, runner: Runner) -> None:
        """Read the losses before validation and checkpoint, which are not for a diverged detector."""
        self._read(runner, runner.iter)

    def before_val(self, runner: Runner) -> None:
        """Stop the clock of the training."""
        self.stop_clock()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write a validation line, where the preset validates with mmdet's CocoMetric."""
        if is_main_process() and metrics and "coco/bbox_mAP" in metrics:
            self._append({"step": runner.iter, "epoch": runner.epoch, "val_AP": metrics["coco/bbox_mAP"]})

    def after_val(self, runner: Runner) -> None:
        """Let the clock of the training go on."""
        self.go_on()

    def stop_clock(self) -> None:
        """Stop the clock of the training, once the steps that were started are done."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self.stopped_at = time.perf_counter()

    def go_on(self) -> None:
        """Let the clock go on, as if no time had passed since it was stopped."""
        self.mark += time.perf_counter() - self.stopped_at

    def check_divergence(self, runner: Runner) -> None:
        """Look at this process's losses that no line has read yet, where a step has failed.

        Raises:
            SuiteError: One of them is not finite, which says more than what then failed.
        """
        self._check_finite(self._values(self.unread, runner.iter))

    def _read(self, runner: Runner, step: int) -> None:
        """Fetch the losses of the steps up to ``step``, means over all processes: the one wait for a GPU."""
        if not self.unread:
            return
        unread, self.unread = self.unread, []
        found = self._values(unread, step, reduce=True)
        self._check_finite(found, runner.epoch + 1)
        for _, name, value in found:
            self._add(name, value)

    def _values(
        self, unread: list[dict[str, Tensor]], last: int, reduce: bool = False
    ) -> list[tuple[int, str, float]]:
        """Step, name and value of all terms of the steps up to ``last``."""
        first = last - len(unread) + 1
        terms = [(step, name) for step, losses in enumerate(unread, first) for name in losses]
        if not terms:
            return []
        values = torch.stack([value.double() for losses in unread for value in losses.values()])
        if reduce:
            all_reduce(values, "mean")
        return [(step, name, value) for (step, name), value in zip(terms, values.tolist(), strict=True)]

    def _check_finite(self, found: list[tuple[int, str, float]], epoch: int | None = None) -> None:
        bad = [one for one in found if not math.isfinite(one[2])]
        if bad:
            # The total is not finite because a term is not: naming the term helps more.
            first = bad[0][0]
            step, name, value = next((one for one in bad if one[0] == first and one[1] != "loss"), bad[0])
            where = f"step {step} (epoch {epoch})" if epoch else f"step {step}"
            raise SuiteError(
                f"{where}: {name} is {value}; the training has diverged.",
                "Lower the learning rate, clip gradients (optim_wrapper.clip_grad) or lengthen the warm-up.",
            )

    def _write_line(self, runner: Runner, step: int) -> None:
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        waiting, pace = means.pop("data_seconds"), means.pop("step_seconds")
        line = {
            "step": step,
            "steps": runner.max_iters,
            "epoch": runner.epoch + 1,
            "epochs": runner.max_epochs,
            "lr": next(iter(runner.optim_wrapper.get_lr().values()))[0],
            "loss": means.pop("loss"),
            **means,
            "step_seconds": round(pace, 6),
            "data_seconds": round(waiting, 6),
            "memory_mb": round(peak_memory_mb(), 1),
            "train_seconds": round(self.train_seconds, 3),
        }
        self._append(line)
        left = datetime.timedelta(seconds=round(pace * (runner.max_iters - step)))
        print(
            f"epoch {line['epoch']}/{line['epochs']}  step {step}/{line['steps']}  loss {line['loss']:.4f}  "
            f"lr {line['lr']:.2g}  {pace:.3f} s/step  {left} left",
            flush=True,
        )

    def _append(self, line: dict[str, Any]) -> None:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        append_line(self.metrics_file, {**line, "time": now})


@contextlib.contextmanager
def outside_training(runner: Runner) -> Iterator[None]:
    """Count what the block takes neither as training nor as waiting for data."""
    logs = [hook for hook in runner.hooks if isinstance(hook, RunLogHook)]
    for log in logs:
        log.stop_clock()
    try:
        yield
    finally:
        for log in logs:
            log.go_on()


@HOOKS.register_module()
class ProgressHook(RuntimeInfoHook):
    """mmengine's RuntimeInfoHook without the history of every step's losses: it would wait for the GPU."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Say in the message hub which step this is."""
        runner.message_hub.update_info("iter", runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Keep nothing: RunLogHook does."""


@HOOKS.register_module()
class LatestCheckpointHook(Hook):
    """Keeps checkpoints/latest.pth: weights, optimiser, schedulers, message hub, at the end of an epoch.

    There is no "best" checkpoint: choosing one by the split that is reported would be tuning on it.

    Args:
        interval: Epochs from checkpoint to checkpoint; the last epoch always has one.
        keep: Shares of the schedule after which a checkpoint is kept beside the last one, for rows that are
            evaluated there (:class:`~suite.inference.mark.MarkLoop`).

    Raises:
        SuiteError: The file cannot be written, for instance on a full disk. The checkpoint before it is
            untouched.
    """

    priority = "VERY_LOW"  # after everything that changes the state

    def __init__(self, interval: int = 1, keep: Sequence[float] = ()) -> None:
        self.interval = interval
        self.keep = keep

    def after_train_epoch(self, runner: Runner) -> None:
        """Write the checkpoint beside the old one, then put it in its place."""
        last = runner.epoch + 1 == runner.max_epochs
        kept = runner.epoch + 1 in {epoch_at(share, runner.max_epochs) for share in self.keep}
        if not is_main_process() or not (last or kept or self.every_n_epochs(runner, self.interval)):
            return
        target = RunDirectory(Path(runner.work_dir)).checkpoint_file
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            target.parent.mkdir(exist_ok=True)
            runner.save_checkpoint(str(temporary.parent), temporary.name)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            if kept and not last:
                beside = target.with_name(kept_checkpoint(runner.epoch + 1))
                beside.unlink(missing_ok=True)
                share_file(temporary, beside)
            os.replace(temporary, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise SuiteError(
                f"{target}: cannot write the checkpoint of epoch {runner.epoch + 1} ({error.strerror}).",
                "Free disk space or make the folder writable, then start the run again: it resumes.",
            ) from error
