"""The plan: which runs the chosen experiments need, and in what state each is. A pure function of the
experiments, the configs and the run directories; it imports neither torch nor ray nor mlflow."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.experiments.schema import Experiment, Row
from suite.files import write_atomically, write_json
from suite.runs.configs import preset_info
from suite.runs.directory import RunDirectory
from suite.runs.identity import Identity, identify, training_digest
from suite.runs.recipes import DEFAULTS, at_preset
from suite.runs.resolve import check_options, config_source, resolve
from suite.runs.spec import RunSpec
from suite.text import one_line

_EVALUATION_SHARE = 0.05
"""Of a run's expected time, the part that its evaluation takes."""

State = Literal["done", "new", "stale", "failed", "interrupted", "running"]


@dataclass(frozen=True)
class Use:
    """A place where a run's numbers appear."""

    experiment: str
    row: str


@dataclass(frozen=True)
class ResolvedRun:
    """A run of which everything is known before anything of it is written.

    Attributes:
        spec: What is asked for.
        run_id: Its identity.
        identity: What the identity rests on.
        config: The resolved config.
        directory: Where the run is or will be.
    """

    spec: RunSpec
    run_id: str
    identity: Identity
    config: dict[str, Any]
    directory: RunDirectory

    @property
    def is_done(self) -> bool:
        """Whether it is complete, and evaluated as it would be now."""
        return (
            self.directory.result_problem() is None
            and _evaluation_problem(self.directory, self.identity) is None
        )

    def as_spec_json(self, dataset: Dataset) -> dict[str, Any]:
        """The content of ``spec.json``."""
        return {
            "run_id": self.run_id,
            "method": self.spec.method,
            "preset": self.spec.preset,
            "options": dict(self.spec.options),
            "seed": self.spec.seed,
            "dataset": {"name": dataset.name, "kind": dataset.kind, "fingerprint": dataset.fingerprint},
            "identity": self.identity.as_dict(),
        }

    def write(self, dataset: Dataset) -> None:
        """Write ``spec.json`` and ``config.py``, before the run is started."""
        write_json(self.directory.spec_file, self.as_spec_json(dataset))
        config = {**self.config, "work_dir": str(self.directory.path.resolve())}
        write_atomically(self.directory.config_file, config_source(config))
        self.directory.result_file.unlink(missing_ok=True)  # only of a result that does not count


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
        uses: Where its numbers appear.
        donor: The run whose training it takes over, done or planned too; None if it trains itself.
    """

    state: State
    reason: str
    seconds: float
    disk_mb: float
    uses: list[Use] = field(default_factory=list)
    donor: RunDirectory | None = None


def specs_of(row: Row, preset: str, seeds: Iterable[int]) -> list[RunSpec]:
    """The runs behind one row of a table, one a seed.

    None for rows with published numbers only, and for rows that cannot be measured at the preset
    (:func:`suite.runs.recipes.at_preset` says why).

    Raises:
        SuiteError: The method, the preset or an option is unknown.
    """
    if row.method is None:
        return []
    check_options(RunSpec(row.method, preset, 0, row.options))
    options, reason = at_preset(row.method, row.options, preset)
    return [] if reason else [RunSpec(row.method, preset, seed, options) for seed in seeds]


def plan(
    experiments: Sequence[Experiment], preset: str, seeds: Sequence[int], dataset: Dataset, runs: Path
) -> list[PlannedRun]:
    """The runs that ``experiments`` need, each once, in the order of their first use.

    Args:
        experiments: The chosen experiments.
        preset: Name of the preset.
        seeds: Training seeds, distinct, 0 or larger.
        dataset: What the runs train and evaluate on.
        runs: Folder of the run directories; need not exist.

    Raises:
        SuiteError: A method, preset or option is unknown, or a run directory cannot be read.
    """
    info = preset_info(preset)
    earlier = _earlier_runs(runs)
    planned: dict[str, PlannedRun] = {}
    for experiment in experiments:
        for row in experiment.rows:
            try:
                resolved = [(spec, resolve(spec, dataset)) for spec in specs_of(row, preset, seeds)]
            except SuiteError as error:
                raise SuiteError(
                    f"{experiment.id}, row {row.label!r}: {error.message}", error.remedy
                ) from error
            for spec, config in resolved:
                run_id, identity = identify(spec, config, dataset.fingerprint)
                if run_id not in planned:
                    directory = RunDirectory(runs / run_id)
                    state, reason = _state(directory, identity, earlier.get(spec.key, []))
                    cost = _cost(spec, state, directory, info)
                    planned[run_id] = PlannedRun(
                        spec, run_id, identity, config, directory, state, reason, *cost
                    )
                planned[run_id].uses.append(Use(experiment.id, row.label))
    return _share_trainings(list(planned.values()), itertools.chain.from_iterable(earlier.values()), runs)


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
    return replace(run, donor=donor, reason=reason, seconds=_EVALUATION_SHARE * run.seconds)


def _cost(spec: RunSpec, state: State, directory: RunDirectory, info: dict[str, Any]) -> tuple[float, float]:
    """Seconds and MB still to be spent on a run, from the preset's expectation for a 1x schedule."""
    length = float(str(spec.options.get("schedule", DEFAULTS["schedule"])).removesuffix("x"))
    seconds, disk_mb = float(info["seconds_per_run"]) * length, float(info["disk_mb_per_run"])
    if state == "done":
        return 0.0, 0.0
    if state == "interrupted" and (progress := directory.progress()):
        seconds *= 1 - progress.step / progress.steps
    return seconds, disk_mb


def _state(directory: RunDirectory, identity: Identity, earlier: list[dict[str, Any]]) -> tuple[State, str]:
    if directory.path.exists():
        problem = directory.result_problem()
        if problem is None:
            problem = _evaluation_problem(directory, identity)
        if problem is None:
            return "done", "complete"
        if directory.is_locked():
            return "running", "another process trains it now"
        if not directory.environment_file.exists():
            return "new", "planned before, never started"
        if directory.result_file.exists():
            return "interrupted", f"{problem}; evaluated again from the last checkpoint"
        if failure := directory.failure():
            return "failed", f"failed before: {one_line(failure)}"
        progress = directory.progress()
        if directory.checkpoint_file.exists() and progress:
            return "interrupted", f"goes on after step {progress.step} of {progress.steps}"
        return "interrupted", "stopped before its first checkpoint; starts again"
    same_data = [spec for spec in earlier if spec["identity"]["dataset"] == identity.dataset]
    if same_data:
        changes = identity.changes_since(same_data[-1]["identity"])
        more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
        return "stale", "; ".join(changes[:3]) + more
    return "new", "never run on this dataset" if earlier else "never run"


def _evaluation_problem(directory: RunDirectory, identity: Identity) -> str | None:
    """Why a complete result has to be made again from its checkpoint, or None."""
    try:
        changes = identity.evaluation_changes_since(directory.spec()["identity"])
    except SuiteError:
        return "spec.json is damaged"
    return "; ".join(changes) or None


def _earlier_runs(runs: Path) -> dict[tuple[str, str, int, str], list[dict[str, Any]]]:
    """Specs of the run directories that exist, by what they were asked for, oldest first."""
    found: dict[tuple[str, str, int, str], list[dict[str, Any]]] = {}
    for path in sorted(runs.glob("*/spec.json"), key=lambda file: file.stat().st_mtime):
        try:
            spec = RunDirectory(path.parent).spec()
            asked = RunSpec(spec["method"], spec["preset"], spec["seed"], spec["options"])
            whole = "run_id" in spec and {"config", "sources", "dataset", "seed"} <= spec["identity"].keys()
        except (SuiteError, KeyError, TypeError):
            continue  # a damaged spec.json is written again when its run is due
        if not whole:
            continue
        found.setdefault(asked.key, []).append(spec)
    return found
