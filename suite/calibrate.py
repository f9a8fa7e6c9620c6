"""``suite calibrate``: a few real steps of each work of a plan, so that plans know this machine's times."""

import datetime
import json
import random
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from suite.data.dataset import Dataset, Split, prepare
from suite.errors import SuiteError
from suite.experiments.calibration import read_measurements, record
from suite.experiments.costs import CALIBRATED, Pace, Work, work_of
from suite.experiments.plan import PlannedRun
from suite.files import read_json, write_json
from suite.runs.directory import RunDirectory
from suite.runs.environments import read_environments
from suite.runs.resolved import ResolvedRun, resolve_run
from suite.text import counted, duration, megabytes, one_line
from suite.workflow import Plan, require_gpus, with_weights
from suite.workspace import Workspace

if TYPE_CHECKING:
    from suite.scheduling.executors import ExecutorName

PASSES = 16
"""Forward passes per epoch of each process, in two epochs; a work that has fewer takes those it has."""

LEAST_PASSES = 4
"""Of an epoch, for its passes to be told from its first and its last one."""

TEST_IMAGES, TEST_BATCHES = 8, 4
"""Images and batches that each process tests at least."""


@dataclass(frozen=True)
class _Sample:
    """A work to measure, and the short run that measures it."""

    work: Work
    passes: int
    images: int
    watched_every: int
    """Passes between two looks of telemetry in a real run; 0 for never."""
    run: ResolvedRun


def calibrate(
    planned: Plan,
    out: Console,
    *,
    executor: "ExecutorName",
    address: str | None,
    cpus: float | None,
    gpus: float | None,
) -> list[str]:
    """Measure each work of a plan that is not measured on this machine yet, side by side as runs would be.

    Args:
        planned: The plan.
        out: Where progress and the results are printed.
        executor: ``ray`` or ``local``.
        address: A running Ray cluster.
        cpus: CPU cores to fill.
        gpus: GPUs to fill.

    Returns:
        One line for each work that could not be measured.

    Raises:
        SuiteError: Something is wrong that can be known before a training starts.
    """
    workspace = planned.request.workspace
    known = read_measurements(workspace)
    works = _distinct(planned.runs, planned.dataset)
    missing = {name: run for name, run in works.items() if name not in known}
    out.print(f"{counted(len(works), 'kind')} of runs, {len(missing)} to measure.", highlight=False)
    failed: list[str] = []
    if missing:
        anew = [replace(run, state="new", donor=None) for run in missing.values()]
        to_measure = replace(planned, runs=anew)
        require_gpus(to_measure, executor, address, gpus)
        to_measure, failed = with_weights(to_measure, out)
        prepare(planned.dataset)
        workspace.runs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".calibration-", dir=workspace.runs.resolve()))
        try:
            samples = [_sample(run, planned, folder) for run in to_measure.runs]
            failed += _measure(samples, workspace, out, executor, address, cpus, gpus)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    _print(works, planned.dataset, workspace, out)
    return failed


def _distinct(runs: Iterable[PlannedRun], dataset: Dataset) -> dict[str, PlannedRun]:
    """Name of a work -> the first run that does it."""
    found: dict[str, PlannedRun] = {}
    for run in runs:
        found.setdefault(work_of(run, dataset).name, run)
    return found


def _sample(run: PlannedRun, planned: Plan, folder: Path) -> _Sample:
    """The short run that measures a run's work: its real config on a few of the images, for two epochs.

    Raises:
        SuiteError: The dataset is too small.
    """
    dataset = planned.dataset
    processes, loader = run.resources.processes, run.config["train_dataloader"]
    work = work_of(run, dataset)
    passes = min(PASSES, work.passes)
    if passes < LEAST_PASSES:
        raise SuiteError(
            f"{dataset.name}: {dataset.train.n_images} training images are too few to measure {work.name}.",
            "Calibrate on the whole dataset.",
        )
    images = min(max(TEST_IMAGES, TEST_BATCHES * run.config["test_dataloader"]["batch_size"]), work.images)
    few = replace(
        dataset,
        train=_few(dataset.train, passes * loader["batch_size"] * processes, folder),
        val=_few(dataset.val, images * processes, folder),
    )
    short = resolve_run(run.spec, few, run.resources, folder)
    config = _short(short.config, passes)
    short = replace(short, config=config)
    short.write(few, planned.weights)
    return _Sample(work, passes, images, _watched_every(run.config), short)


def _few(split: Split, count: int, folder: Path) -> Split:
    """Some of a split's images, drawn evenly, with annotations of their own; images with a box."""
    file = folder / f"{split.images.name}-{count}.json"
    if not file.exists():
        content = json.loads(split.annotations.read_bytes())
        filled = {row["image_id"] for row in content["annotations"] if not row.get("iscrowd")}
        images = [image for image in content["images"] if image["id"] in filled]
        images = random.Random(0).sample(images, min(count, len(images)))
        kept = {image["id"] for image in images}
        rows = [row for row in content["annotations"] if row["image_id"] in kept]
        write_json(file, {**content, "images": images, "annotations": rows})
    return replace(split, annotations=file, n_images=count)


def _watched_every(config: dict[str, Any]) -> int:
    hooks = (hook for hook in config["custom_hooks"] if hook["type"] == "AssignmentHook")
    return next((int(hook.get("interval", 500)) for hook in hooks), 0)


def _short(config: dict[str, Any], passes: int) -> dict[str, Any]:
    """A config for two short epochs under a stopwatch, with telemetry after the last pass of each."""
    hooks = [
        {**hook, "interval": passes} if hook["type"] == "AssignmentHook" else hook
        for hook in config["custom_hooks"]
    ]
    imports = config["custom_imports"]
    return {
        **config,
        "train_cfg": {**config["train_cfg"], "max_epochs": 2},
        "custom_hooks": [*hooks, {"type": "StopwatchHook"}],
        "custom_imports": {**imports, "imports": [*imports["imports"], "suite.training.stopwatch"]},
    }


def _measure(
    samples: list[_Sample],
    workspace: Workspace,
    out: Console,
    executor: "ExecutorName",
    address: str | None,
    cpus: float | None,
    gpus: float | None,
) -> list[str]:
    """Carry out the short runs and note each as it ends."""
    from suite.scheduling.executor import Job
    from suite.scheduling.executors import make_executor

    failed = []
    by_id = {sample.run.run_id: sample for sample in samples}
    with make_executor(executor, address=address, cpus=cpus, gpus=gpus) as started:
        for sample in samples:
            started.submit(Job.of(sample.run))
        for number in range(1, len(samples) + 1):
            outcome = started.next_outcome()
            assert outcome is not None
            sample = by_id[outcome.run_id]
            if outcome.ok:
                pace = _note(sample, workspace)
                text = f"{pace.forward_pass:.3g} s per pass"
            else:
                text = f"failed: {one_line(outcome.reason)}"
                failed.append(f"{sample.work.name}: {one_line(outcome.reason)}")
            out.print(f"{number}/{len(samples)}  {sample.work.name}: {text}", highlight=False, soft_wrap=True)
            shutil.rmtree(sample.run.directory.path, ignore_errors=True)
    return failed


def _note(sample: _Sample, workspace: Workspace) -> Pace:
    """Take what a short run measured into the workspace's file."""
    directory = sample.run.directory
    stopwatch = read_json(directory.stopwatch_file)
    watching = stopwatch.pop("last_pass")
    paced = Pace(**stopwatch, other=0.0, source=CALIBRATED)
    short = Work(sample.work.name, 2, sample.passes, sample.images)
    # What is neither passes nor images: imports, the first pass, numbers at the end.
    other = _seconds(directory) - paced.train_seconds(short) - 2 * watching - paced.test_seconds(short)
    watched = sample.work.passes / sample.watched_every if sample.watched_every else 0.0
    memory = float((directory.result() or {})["peak_memory_mb"])
    environment = read_environments(directory)["training"][-1]
    pace = replace(paced, epoch=paced.epoch + watched * watching, other=max(0.0, other))
    record(workspace, sample.work.name, pace, memory, environment, sample.run.resources.gpus > 0)
    return pace


def _seconds(run: RunDirectory) -> float:
    """Seconds from the start of a run's process to its result."""
    started = datetime.datetime.fromisoformat(run.log_file.read_text().split()[1])
    return run.result_file.stat().st_mtime - started.timestamp()


def _print(works: dict[str, PlannedRun], dataset: Dataset, workspace: Workspace, out: Console) -> None:
    """The works with what is known of them."""
    table = Table(title="measured on this machine", title_justify="left")
    for heading in ("work", "per pass", "run", "memory per process"):
        table.add_column(heading, justify="left" if heading == "work" else "right", overflow="fold")
    known = read_measurements(workspace)
    for name, run in works.items():
        if name in known:
            pace, memory = known[name]
            work = work_of(run, dataset)
            whole = duration(pace.train_seconds(work) + pace.test_seconds(work))
            table.add_row(name, f"{pace.forward_pass:.3g} s", whole, megabytes(memory * 2**20 / 1e6))
    out.print(table)
