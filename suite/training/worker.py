"""Train and evaluate one run: ``python -m suite.training.worker RUN_DIR [--launcher none|pytorch]``.

Needs spec.json and config.py in the folder, and leaves the files of a run there, result.json last. An
interrupted run is taken up at its last checkpoint; a trained one is only evaluated. Exit codes: 0 done, 1
failed (what is printed last, from ``error:`` on, says why), 75 another process works on the run.
"""

import argparse
import datetime
import os
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, init_dist, is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from suite.errors import SuiteError
from suite.files import read_json_lines, sha256, write_json
from suite.inference.result import metrics_of
from suite.locks import locked
from suite.runs.directory import BUSY, RunDirectory
from suite.runs.environments import record_evaluation, record_training
from suite.runs.process_failures import write_process_failure
from suite.runs.sharing import forget_donor, trained_by
from suite.training.checkpoint import first_line, read_checkpoint
from suite.training.environment import environment

_SHOWN = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR100", "NR")
_HARMLESS = (
    r".*torch\.meshgrid.*indexing.*",
    r".*pin_memory.*no accelerator.*",
    r".*`num_anchors` is deprecated.*",
    r"Sparse invariant checks.*",
)

_SIGNS_OF_LOST_TOUCH = (
    "Connection closed by peer", "Connection reset by peer", "gloo/transport", "NCCL", "Broken pipe",
)  # fmt: skip


class Busy(Exception):
    """Another process works on the run."""


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


def connect(config: Config) -> None:
    """Join the processes of the run."""
    backend = config.get("env_cfg", {}).get("dist_cfg", {})
    if torch.cuda.is_available():
        init_dist("pytorch", **backend)
    else:  # mmengine's takes a GPU for each process
        torch.distributed.init_process_group(**backend)


def fit_to_cores(config: Config) -> None:
    """Have no more loader workers than the run was given cores for each process; they change no number."""
    cores = int(os.environ.get("OMP_NUM_THREADS", 1))
    for name in ("train_dataloader", "test_dataloader"):
        loader = config.get(name)
        if loader and loader.get("num_workers", 0) > cores:
            loader.num_workers = cores


def set_arithmetic() -> None:
    """Take the threads that the run is given, and numbers below 1e-38 as zero.

    A CPU computes with those a hundred times as slowly: a training whose losses jump once can come to them.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    torch.set_flush_denormal(True)


def work(run: RunDirectory, launcher: str) -> None:
    """Train what is left to train, evaluate, and write result.json."""
    if run.is_complete():
        print("done: another process was faster", flush=True)
        return
    config = load_config(run, launcher)
    fit_to_cores(config)
    set_arithmetic()
    if launcher != "none":
        connect(config)
    dataset, now = run.spec()["dataset"], environment()
    epochs = [0]
    trains = config.get("train_cfg") is not None  # a detector that others trained is only evaluated
    if is_main_process():
        run.clear_failure()
        run.result_file.unlink(missing_ok=True)
        epochs = [read_checkpoint(run).epoch if trains else 0]
        if not epochs[0]:
            forget_donor(run)
    broadcast_object_list(epochs)
    trained = not trains or epochs[0] >= config.train_cfg.max_epochs
    if epochs[0]:
        # A finished model is only loaded; one under way is resumed with optimiser, schedulers and counters.
        config.load_from, config.resume = str(run.checkpoint_file.resolve()), not trained
        print(f"going on after epoch {epochs[0]} of {config.train_cfg.max_epochs}", flush=True)
    runner = RUNNERS.build(config)
    if not trained:
        if is_main_process():
            record_training(run, now, dataset, epochs[0])
        runner.train()
    started = time.perf_counter()
    if is_main_process():
        record_evaluation(run, now, dataset)
    runner.test()
    if is_main_process():
        _write_result(run, runner, config, started)


def _write_result(run: RunDirectory, runner: Runner, config: Config, started: float) -> None:
    spec = run.spec()
    metrics = metrics_of(run, Path(config.test_evaluator.ann_file))
    files = [run.detections_file]
    files += [file for file in (run.coverage_file, run.metrics_file) if file.exists()]
    finished = datetime.datetime.now(datetime.timezone.utc)
    write_json(
        run.result_file,
        {
            "run_id": spec["run_id"],
            **({"trained_by": donor} if (donor := trained_by(run)) else {}),
            **({"adopted": spec["adopted"]} if "adopted" in spec else {}),
            "evaluation": spec["identity"].get("evaluation", {}),
            "metrics": metrics,
            **_training_figures(run),
            "evaluation_seconds": round(time.perf_counter() - started, 3),
            "images_per_second": round(runner.test_loop.images_per_second, 3),
            "parameters": sum(parameter.numel() for parameter in runner.model.parameters()),
            "files": {file.name: {"sha256": sha256(file), "bytes": file.stat().st_size} for file in files},
            "finished": finished.isoformat(timespec="seconds"),
        },
    )
    shown = "  ".join(f"{name} {metrics[name]:.3f}" for name in _SHOWN if metrics[name] is not None)
    print(f"done: {shown}", flush=True)


def _training_figures(run: RunDirectory) -> dict[str, float | int | None]:
    """What the training took, by its log; where that is lost, None for what no checkpoint has."""
    if "adopted" in run.spec():
        return {"train_seconds": None, "steps": 0, "step_seconds": None, "peak_memory_mb": None}
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
    """What went wrong and, where known, what to do; lines after the first are indented."""
    if isinstance(error, SuiteError):
        separator = "\n-> " if "\n" in error.message else " "
        text = separator.join(filter(None, [error.message, error.remedy]))
        return "\n  ".join(line for line in text.splitlines() if line.strip())
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return (
            f"out of GPU memory: {first_line(error)} ACCUMULATE=2 computes a step's images in two halves, "
            "GPUS=... shares them among more GPUs; or use a GPU with more memory."
        )
    return f"{type(error).__name__}: {first_line(error)}"


def _lost_touch(error: BaseException) -> bool:
    """Whether an error says that another process of the run is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS_OF_LOST_TOUCH)


def main(arguments: Sequence[str] | None = None, task: Callable[[RunDirectory, str], None] = work) -> int:
    """Carry a task out on a run's folder, as a child process does, and return the exit code."""
    parser = argparse.ArgumentParser(prog="suite.training.worker", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--launcher", choices=["none", "pytorch"], default="none")
    options = parser.parse_args(arguments)
    for message in _HARMLESS:
        warnings.filterwarnings("ignore", message=message)
    run = RunDirectory(options.run_dir)
    try:
        if int(os.environ.get("RANK", 0)) == 0:
            with locked(run.lock_file, Busy(f"{run.path}: another process is training this run.")):
                task(run, options.launcher)
        else:
            task(run, options.launcher)
    except Busy as error:
        print(f"error: {error}", flush=True)
        if options.launcher != "none":
            write_process_failure(run, str(error), busy=True)
        return BUSY
    except (Exception, KeyboardInterrupt) as error:
        if options.launcher != "none":
            # At once: the other processes lose touch with this one as soon as it ends.
            write_process_failure(run, _reason(error), lost_touch=_lost_touch(error))
        traceback.print_exc()
        sys.stderr.flush()
        print(f"error: {_reason(error)}", flush=True)
        return 1
    finally:
        torch.set_flush_denormal(False)  # whoever calls this in a process of its own has its numbers back
    return 0


if __name__ == "__main__":
    sys.exit(main())
