"""Train and evaluate one run: ``python -m suite.training.worker RUN_DIR [--launcher none|pytorch]``.

Needs spec.json and config.py in the folder, and leaves the files of a run there, result.json last. An
interrupted run is taken up at its last checkpoint; a trained one is only evaluated. Exit codes: 0 done, 1
failed (the last line printed says why), 75 another process works on the run.
"""

import argparse
import datetime
import fcntl
import os
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, init_dist, is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from suite.errors import SuiteError
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.nms_recall import nms_recall
from suite.files import read_json_lines, sha256, write_json
from suite.runs.directory import RunDirectory
from suite.runs.sharing import forget_donor, trained_by
from suite.training.checkpoint import first_line, read_checkpoint
from suite.training.environment import environment

BUSY = 75  # EX_TEMPFAIL of sysexits.h: try again later
_METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR100")
_HARMLESS = (
    r".*torch\.meshgrid.*indexing.*",
    r".*pin_memory.*no accelerator.*",
    r".*`num_anchors` is deprecated.*",
    r"Sparse invariant checks.*",
)


class Busy(Exception):
    """Another process works on the run."""


@contextmanager
def locked(run: RunDirectory, patience: float = 2.0) -> Iterator[None]:
    """Hold the run's lock, which ends with this process however it ends.

    Args:
        run: The run.
        patience: Seconds to wait: a look at the lock (:meth:`RunDirectory.is_locked`) holds it for a moment.

    Raises:
        Busy: Another process holds it.
        SuiteError: The folder is missing or cannot be written.
    """
    try:
        handle = os.open(run.lock_file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SuiteError(
            f"{run.path}: cannot work in this folder ({error.strerror}).", "Make it exist and writable."
        ) from error
    _locks.append(handle)
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(f"{run.path}: another process is training this run.") from None
                time.sleep(0.1)
        yield
    finally:
        _locks.remove(handle)
        os.close(handle)


# Loader workers are forked, would hold the lock too, and may outlive a killed parent by seconds.
_locks: list[int] = []


def _release_in_child() -> None:
    for handle in _locks:
        os.close(handle)


os.register_at_fork(after_in_child=_release_in_child)


class RunConfig(Config):
    """A config that gives its file's text where mmengine asks for one formatted by yapf.

    yapf's first import writes a cache in the user's home that a process starting beside it can read half
    written, and fail.
    """

    @property
    def pretty_text(self) -> str:
        """The text of the run's config.py."""
        return str(self.text)


def load_config(run: RunDirectory, launcher: str) -> RunConfig:
    """The run's config, with the run's folder as ``work_dir``.

    Raises:
        SuiteError: The file is missing or not a config.
    """
    try:
        loaded = Config.fromfile(run.config_file)
    except Exception as error:  # running a config file can raise anything
        raise SuiteError(f"{run.config_file}: cannot load ({first_line(error)}).") from error
    config = RunConfig(loaded.to_dict(), cfg_text=loaded.text, filename=loaded.filename)
    config.work_dir = str(run.path.resolve())
    config.launcher = launcher
    return config


def work(run: RunDirectory, launcher: str) -> None:
    """Train what is left to train, evaluate, and write result.json."""
    config = load_config(run, launcher)
    torch.set_num_threads(int(config.get("suite", {}).get("cpus") or os.environ.get("OMP_NUM_THREADS", 1)))
    if launcher != "none":
        init_dist(launcher, **config.get("env_cfg", {}).get("dist_cfg", {}))
    epochs = [0]
    if is_main_process():
        run.clear_failure()
        run.result_file.unlink(missing_ok=True)
        write_json(run.environment_file, environment(run.spec()["dataset"]))
        epochs = [read_checkpoint(run).epoch]
        if not epochs[0]:
            forget_donor(run)
    broadcast_object_list(epochs)
    trained = epochs[0] >= config.train_cfg.max_epochs
    if epochs[0]:
        # A finished model is only loaded; one under way is resumed with optimiser, schedulers and counters.
        config.load_from, config.resume = str(run.checkpoint_file.resolve()), not trained
        print(f"going on after epoch {epochs[0]} of {config.train_cfg.max_epochs}", flush=True)
    runner = RUNNERS.build(config)
    if not trained:
        runner.train()
    started = time.perf_counter()
    runner.test()
    if is_main_process():
        _write_result(run, runner, config, started)


def _write_result(run: RunDirectory, runner: Runner, config: Config, started: float) -> None:
    metrics: dict[str, float | None] = {}
    truth = GroundTruth.load(config.test_evaluator.ann_file)
    found = evaluate(truth, pd.read_parquet(run.detections_file)).metrics
    metrics.update({name: found[name] for name in _METRICS})
    files = [run.detections_file]
    metrics["NR"] = None
    if run.coverage_file.exists():
        metrics["NR"] = nms_recall(pd.read_parquet(run.coverage_file))["NR"]
        files.append(run.coverage_file)
    if run.metrics_file.exists():
        files.append(run.metrics_file)
    finished = datetime.datetime.now(datetime.timezone.utc)
    write_json(
        run.result_file,
        {
            "run_id": run.spec()["run_id"],
            **({"trained_by": donor} if (donor := trained_by(run)) else {}),
            "metrics": metrics,
            **_training_figures(run),
            "evaluation_seconds": round(time.perf_counter() - started, 3),
            "images_per_second": round(runner.test_loop.images_per_second, 3),
            "parameters": sum(parameter.numel() for parameter in runner.model.parameters()),
            "files": {file.name: {"sha256": sha256(file), "bytes": file.stat().st_size} for file in files},
            "finished": finished.isoformat(timespec="seconds"),
        },
    )
    shown = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items() if value is not None)
    print(f"done: {shown}", flush=True)


def _training_figures(run: RunDirectory) -> dict[str, float | int | None]:
    """What the training took, by its log; where that is lost, None for what no checkpoint has."""
    lines = [line for line in read_json_lines(run.metrics_file) if "loss" in line]
    if lines and lines[-1]["step"] == lines[-1]["steps"]:
        return {
            "train_seconds": lines[-1]["train_seconds"],
            "steps": lines[-1]["steps"],
            "step_seconds": statistics.median(line["step_seconds"] for line in lines),
            "peak_memory_mb": max(line["memory_mb"] for line in lines),
        }
    print(f"notice: {run.metrics_file} lacks the training's end: no step_seconds and no peak_memory_mb")
    trained = read_checkpoint(run)
    return {
        "train_seconds": round(trained.seconds, 3),
        "steps": trained.steps,
        "step_seconds": None,
        "peak_memory_mb": None,
    }


def _reason(error: BaseException) -> str:
    """One line that says what went wrong and, where known, what to do."""
    if isinstance(error, SuiteError):
        return " ".join(filter(None, [error.message, error.remedy]))
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"out of GPU memory: {first_line(error)} Use a smaller batch or a larger GPU."
    return f"{type(error).__name__}: {first_line(error)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker and return its exit code."""
    parser = argparse.ArgumentParser(prog="suite.training.worker", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--launcher", choices=["none", "pytorch"], default="none")
    options = parser.parse_args(arguments)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    run = RunDirectory(options.run_dir)
    try:
        if int(os.environ.get("RANK", 0)) == 0:
            with locked(run):
                work(run, options.launcher)
        else:
            work(run, options.launcher)
    except Busy as error:
        print(f"error: {error}", flush=True)
        return BUSY
    except (Exception, KeyboardInterrupt) as error:
        traceback.print_exc()
        sys.stderr.flush()
        print(f"error: {_reason(error)}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
