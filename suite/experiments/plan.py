"""The plan: which runs the chosen experiments need, and in what state each is. A pure function of the
experiments, the configs and the run directories; it imports neither torch nor ray nor mlflow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.experiments.identity import Identity, identify
from suite.experiments.resolve import preset_info, resolve
from suite.experiments.schema import Experiment, Row
from suite.experiments.spec import RunSpec
from suite.runs import RunDirectory

State = Literal["done", "new", "stale", "failed", "interrupted", "running"]


@dataclass(frozen=True)
class Use:
    """A place where a run's numbers appear."""

    experiment: str
    row: str


@dataclass(frozen=True)
class PlannedRun:
    """A run that the chosen experiments need.

    Attributes:
        spec: What is asked for.
        run_id: Its identity.
        identity: What the identity rests on.
        config: The resolved config.
        directory: Where the run is or will be.
        state: ``done`` (nothing to do), ``new``, ``stale`` (an earlier run of the same spec does not count
            any more), ``failed``, ``interrupted`` (goes on from its last checkpoint) or ``running`` (another
            process trains it now).
        reason: Why it is in this state.
        seconds: Estimated time still to spend, on the preset's resources.
        disk_mb: Estimated disk still to be used, in MB.
        uses: Where its numbers appear.
    """

    spec: RunSpec
    run_id: str
    identity: Identity
    config: dict[str, Any]
    directory: RunDirectory
    state: State
    reason: str
    seconds: float
    disk_mb: float
    uses: list[Use] = field(default_factory=list)

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


def specs_of(row: Row, preset: str, seeds: Iterable[int]) -> list[RunSpec]:
    """The runs behind one row of a table, one a seed; none for rows with published numbers only."""
    if row.method is None:
        return []
    return [RunSpec(row.method, preset, seed, row.options) for seed in seeds]


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
            for spec in specs_of(row, preset, seeds):
                try:
                    config = resolve(spec, dataset)
                except SuiteError as error:
                    raise SuiteError(
                        f"{experiment.id}, row {row.label!r}: {error.message}", error.remedy
                    ) from error
                run_id, identity = identify(spec, config, dataset.fingerprint)
                if run_id not in planned:
                    directory = RunDirectory(runs / run_id)
                    state, reason = _state(directory, identity, earlier.get(spec.key, []))
                    cost = _cost(state, directory, info)
                    planned[run_id] = PlannedRun(
                        spec, run_id, identity, config, directory, state, reason, *cost
                    )
                planned[run_id].uses.append(Use(experiment.id, row.label))
    return list(planned.values())


def _cost(state: State, directory: RunDirectory, info: dict[str, Any]) -> tuple[float, float]:
    """Seconds and MB still to be spent on a run, from the preset's expectation."""
    seconds, disk_mb = float(info["seconds_per_run"]), float(info["disk_mb_per_run"])
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
            return "failed", f"failed before: {failure}"
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
        except (SuiteError, KeyError, TypeError):
            continue  # a damaged spec.json is written again when its run is due
        found.setdefault(asked.key, []).append(spec)
    return found
