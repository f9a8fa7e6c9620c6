"""The plan: which runs the chosen experiments need, and in what state each is. A pure function of the
experiments, the configs and the run directories; it imports neither torch nor ray nor mlflow."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.experiments.costs import Cost, Costs, Pace, paces_of_finished
from suite.experiments.schema import Experiment, Row
from suite.runs.adjustments import NONE, Adjustments
from suite.runs.code import keep
from suite.runs.directory import RunDirectory
from suite.runs.environments import differences
from suite.runs.identity import FORMAT, training_digest
from suite.runs.options import at_preset
from suite.runs.presets import resources_of
from suite.runs.resolved import ResolvedRun, resolve_run
from suite.runs.spec import RunSpec
from suite.text import one_line

State = Literal["done", "new", "stale", "failed", "interrupted", "running"]


@dataclass(frozen=True)
class Use:
    """A place where a run's numbers appear."""

    experiment: str
    row: str


@dataclass(frozen=True)
class PlannedRun(ResolvedRun):
    """A run that the chosen experiments need.

    Attributes:
        state: ``done`` (nothing to do), ``new``, ``stale`` (an earlier run of the same spec does not count
            any more), ``failed``, ``interrupted`` (goes on from its last checkpoint) or ``running`` (another
            process trains it now).
        reason: Why it is in this state.
        seconds: Estimated time still to spend, on the preset's resources.
        disk_mb: Estimated disk still to be used, in MB.
        source: Where the estimated time is from, for people.
        uses: Where its numbers appear.
        donor: The run whose training it takes over, done or planned too; None if it trains itself.
    """

    state: State
    reason: str
    seconds: float = 0.0
    disk_mb: float = 0.0
    source: str = ""
    uses: list[Use] = field(default_factory=list)
    donor: RunDirectory | None = None


@dataclass(frozen=True)
class RowAtPreset:
    """What becomes of a table's row at the preset and on the data at hand.

    Attributes:
        specs: The runs behind it, one per seed; none for rows with published numbers only, and for rows that
            cannot be measured.
        why_not: Why it cannot be measured; empty if it can, and for rows that need no run.
        left_out: Recipes of the row in whose place the preset has its own, like ``schedule 2x``.
    """

    specs: list[RunSpec]
    why_not: str = ""
    left_out: tuple[str, ...] = ()


def row_at_preset(
    row: Row, preset: str, seeds: Iterable[int], adjustments: Adjustments = NONE
) -> RowAtPreset:
    """What becomes of a row at a preset.

    Raises:
        SuiteError: The method, the preset or an option is unknown, or an option's value is not allowed.
    """
    if row.method is None:
        return RowAtPreset([])
    applied = at_preset(row.method, row.options, preset)
    if applied.why_not:
        return RowAtPreset([], applied.why_not)
    specs = [RunSpec(row.method, preset, seed, applied.options, adjustments) for seed in seeds]
    return RowAtPreset(specs, "", applied.left_out)


@dataclass(frozen=True)
class Planned:
    """What chosen experiments need.

    Attributes:
        runs: Each run once, in the order of its first use.
        rows: Experiment's id and row's label -> what becomes of the row.
    """

    runs: list[PlannedRun]
    rows: dict[tuple[str, str], RowAtPreset]


def plan(
    experiments: Sequence[Experiment],
    preset: str,
    seeds: Sequence[int],
    dataset: Dataset,
    runs: Path,
    adjustments: Adjustments = NONE,
    calibrated: Mapping[str, Pace] | None = None,
) -> Planned:
    """The runs that ``experiments`` need, each once, in the order of their first use.

    Args:
        experiments: The chosen experiments.
        preset: Name of the preset.
        seeds: Training seeds, distinct, 0 or larger.
        dataset: What the runs train and evaluate on. Rows of an experiment about another one need no run.
        runs: Folder of the run directories; need not exist.
        adjustments: What differs from the preset's GPUs and images per step.
        calibrated: Paces measured on this machine, by name of a work.

    Raises:
        SuiteError: A method, preset or option is unknown, a run directory cannot be read, or an adjustment
            does not go with a run.
    """
    earlier = _earlier_runs(runs)
    resolved: dict[tuple[Any, ...], ResolvedRun] = {}
    planned: dict[str, PlannedRun] = {}
    rows: dict[tuple[str, str], RowAtPreset] = {}
    for experiment in experiments:
        for row in experiment.rows:
            try:
                at = row_at_preset(row, preset, seeds, adjustments)
                if (wanted := _other_dataset(experiment, dataset)) and row.method is not None:
                    at = RowAtPreset([], f"not measurable on {dataset.name}: needs {wanted} as a COCO root")
                rows[experiment.id, row.label] = at
                for spec in at.specs:
                    if spec.key not in resolved:
                        resources = resources_of(spec.method, preset, adjustments)
                        resolved[spec.key] = resolve_run(spec, dataset, resources, runs)
            except SuiteError as error:
                raise SuiteError(
                    f"{experiment.id}, row {row.label!r}: {error.message}", error.remedy
                ) from error
            for run in (resolved[spec.key] for spec in at.specs):
                if run.run_id not in planned:
                    state, reason = _state(run, dataset, earlier.get(run.spec.key, []))
                    planned[run.run_id] = PlannedRun(**vars(run), state=state, reason=reason)
                planned[run.run_id].uses.append(Use(experiment.id, row.label))
    keep()
    specs = list(itertools.chain.from_iterable(earlier.values()))
    found = _share_trainings(list(planned.values()), specs, runs)
    evaluated_alike = [
        spec for spec in specs if spec["preset"] == preset and _same_data(spec["dataset"], dataset)
    ]
    costs = Costs(preset, dataset, calibrated or {}, paces_of_finished(evaluated_alike, runs)).of(found)
    return Planned([_with_cost(run, cost) for run, cost in zip(found, costs, strict=True)], rows)


def seeds_of_runs(runs: Path, preset: str) -> set[int]:
    """Seeds of a preset's run directories, finished or not."""
    return {seed for _, of_preset, seed, *_ in _earlier_runs(runs) if of_preset == preset}


def looked_at_again(run: PlannedRun, dataset: Dataset) -> PlannedRun:
    """A planned run with its state as it is now, after an executor had it."""
    state, reason = _state(run, dataset, [])
    return replace(run, state=state, reason=reason)


def _other_dataset(experiment: Experiment, dataset: Dataset) -> str:
    """The dataset that an experiment is about, where it is not the one at hand; else empty."""
    if experiment.generated_too and dataset.kind == "shapes":
        return ""
    wanted = experiment.dataset or ""
    return "" if wanted.lower() in dataset.name.lower() else wanted


def _share_trainings(
    planned: list[PlannedRun], earlier: Iterable[dict[str, Any]], runs: Path
) -> list[PlannedRun]:
    """The runs, those with a donor where another one has, or will have, the same training.

    A donor is, in this order: a complete run that kept its checkpoint, a planned one that has a checkpoint,
    the first planned one.
    """
    donors: dict[str, RunDirectory] = {}
    for run in sorted(planned, key=lambda run: not run.directory.checkpoint_file.exists()):
        if run.state != "done" or run.directory.checkpoint_file.exists():
            donors.setdefault(run.identity.training_digest(), run.directory)
    for spec in earlier:
        directory = RunDirectory(runs / spec["run_id"])
        if directory.result_file.exists() and directory.checkpoint_file.exists():
            if spec["identity"].get("format") != FORMAT:
                continue
            digest = training_digest(spec["identity"])
            if digest in donors and not donors[digest].result_file.exists():
                donors[digest] = directory
    return [_with_donor(run, donors.get(run.identity.training_digest())) for run in planned]


def _with_donor(run: PlannedRun, donor: RunDirectory | None) -> PlannedRun:
    if donor is None or donor.run_id == run.run_id or run.state in ("done", "running"):
        return run
    if run.directory.checkpoint_file.exists():
        return run
    shared = f"evaluates the training of {donor.run_id}"
    reason = shared if run.state == "new" else f"{run.reason}; {shared}"
    return replace(run, donor=donor, reason=reason)


def _with_cost(run: PlannedRun, cost: Cost) -> PlannedRun:
    """A run with what of its cost is still to be spent: all, the rest of its training, or the evaluation."""
    if run.state == "done":
        return run
    seconds, disk_mb = cost.seconds, cost.checkpoint_mb + cost.other_mb
    if run.donor is not None:
        seconds, disk_mb = cost.test_seconds, cost.other_mb  # the checkpoint is a link
    elif run.directory.checkpoint_file.exists():
        disk_mb = cost.other_mb
        if progress := run.directory.progress():
            seconds = cost.test_seconds + cost.train_seconds * max(0.0, 1 - progress.step / progress.steps)
    return replace(run, seconds=seconds, disk_mb=disk_mb, source=cost.source)


def _state(run: ResolvedRun, dataset: Dataset, earlier: list[dict[str, Any]]) -> tuple[State, str]:
    directory = run.directory
    if directory.path.exists():
        problem = run.problem
        if problem is None:
            return "done", "; ".join(["complete", *differences(directory)])
        if directory.is_locked():
            return "running", "another process trains it now"
        if not directory.environment_file.exists():
            return "new", "planned before, never started"
        trained = directory.checkpoint_file.exists()
        if directory.result_file.exists():
            again = (
                "evaluated again from the last checkpoint"
                if trained
                else "its checkpoint is gone: trained again"
            )
            return "interrupted", f"{problem}; {again}"
        if failure := directory.failure():
            return "failed", f"failed before: {one_line(failure)}"
        if trained:
            progress = directory.progress()
            where = (
                f"after step {progress.step} of {progress.steps}" if progress else "from its last checkpoint"
            )
            return "interrupted", f"goes on {where}"
        return "interrupted", "stopped before its first checkpoint; starts again"
    same = [spec for spec in earlier if _same_data(spec["dataset"], dataset)]
    if same:
        changes = run.identity.changes_since(same[-1]["identity"])
        more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
        return "stale", "; ".join(changes[:3]) + more
    return "new", "never run on this dataset" if earlier else "never run"


def _same_data(known: dict[str, Any], dataset: Dataset) -> bool:
    """Whether an earlier run's data are this dataset, as it is now or as it was before it changed."""
    if known.get("fingerprint") == dataset.fingerprint:
        return True
    return dataset.kind == "coco" and known.get("root") == str(dataset.root.resolve())


def _earlier_runs(runs: Path) -> dict[tuple[str, str, int, str, str], list[dict[str, Any]]]:
    """Specs of the run directories that exist, by what they were asked for, oldest first."""
    found: dict[tuple[str, str, int, str, str], list[dict[str, Any]]] = {}
    for path in sorted(runs.glob("*/spec.json"), key=lambda file: file.stat().st_mtime):
        try:
            spec = RunDirectory(path.parent).spec()
            asked = RunSpec.of(spec)
            identity, data = spec["identity"], spec["dataset"]
        except (SuiteError, KeyError, TypeError):
            continue  # a damaged spec.json is written again when its run is due
        if "run_id" not in spec or not isinstance(identity, dict) or not isinstance(data, dict):
            continue
        found.setdefault(asked.key, []).append(spec)
    return found
