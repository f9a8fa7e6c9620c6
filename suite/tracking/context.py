"""Where a run stands among the others: its rows and studies, and whether a newer run replaced it."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suite.errors import SuiteError
from suite.experiments.plan import Use, row_at_preset
from suite.experiments.schema import Experiment, load_experiments
from suite.files import read_json_lines
from suite.runs.directory import RunDirectory
from suite.runs.spec import RunSpec
from suite.tracking.contents import asked, has_started, spec_of
from suite.tracking.damage import Unsendable, reading
from suite.tracking.studies import TrackedStudy, read_studies
from suite.workspace import Workspace


@dataclass(frozen=True)
class RunContext:
    """What follows about a run from the other files of the workspace.

    Attributes:
        uses: The rows that its numbers stand in.
        trials: Each trial that it is, with its study.
        replaced: A newer run was asked for the same on the same dataset.
    """

    uses: Sequence[Use] = ()
    trials: Sequence[tuple[TrackedStudy, Mapping[str, Any]]] = ()
    replaced: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """``suite.kind``, ``suite.experiment``, ``suite.row``; a trial's study, number and state.

        Entries of ``suite.row`` end with a semicolon, so that a filter can name one exactly.
        """
        uses = () if self.replaced else self.uses
        kind = "trial" if self.trials and not uses else "run"
        tags = {
            "suite.kind": "replaced" if self.replaced else kind,
            "suite.experiment": ", ".join(dict.fromkeys(use.experiment for use in uses)),
            "suite.row": " ".join(f"{use.experiment}: {use.row};" for use in uses),
        }
        if self.trials:
            tags["suite.study"] = ", ".join(study.about["name"] for study, _ in self.trials)
            tags["suite.trial"] = ", ".join(str(trial["number"]) for _, trial in self.trials)
            tags["suite.trial_state"] = ", ".join(str(trial.get("state", "")) for _, trial in self.trials)
        return tags


@dataclass
class WorkspaceContext:
    """Finds the place of every run of a workspace.

    Attributes:
        experiments: The experiments whose rows are looked up.
        studies: The studies whose trials are.
    """

    experiments: Sequence[Experiment] = ()
    studies: Sequence[TrackedStudy] = ()
    _newest: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _asked: list[tuple[RunSpec, str]] = field(default_factory=list)
    _rows: dict[tuple[str, int], dict[tuple[Any, ...], list[tuple[Experiment, Use]]]] = field(
        default_factory=dict
    )

    @classmethod
    def of(cls, workspace: Workspace) -> "WorkspaceContext":
        """Read the workspace's experiments, studies and runs.

        Raises:
            SuiteError: An experiment's file is malformed.
        """
        experiments = load_experiments(workspace.experiments) if workspace.experiments.is_dir() else []
        context = cls(experiments, read_studies(workspace))
        context._read_runs(workspace)
        return context

    def begin(self, run_id: str, spec: Mapping[str, Any]) -> None:
        """Take note of a run that is about to be trained: it replaces those before it."""
        self._newest[_question(spec)] = run_id

    def of_run(self, run_id: str, spec: Mapping[str, Any]) -> RunContext:
        """The place of a run.

        Args:
            run_id: Its identity.
            spec: The content of its ``spec.json``.
        """
        trials = [(study, trial) for study in self.studies for trial in study.trials_of(run_id)]
        newest = self._newest.get(_question(spec), run_id)
        return RunContext(self._uses(asked(spec), spec["dataset"]["name"]), trials, newest != run_id)

    def used(self, preset: str) -> list[Experiment]:
        """The experiments that have a run, at least a planned one, at a preset."""
        uses = [self._uses(spec, dataset) for spec, dataset in self._asked if spec.preset == preset]
        ids = {use.experiment for found in uses for use in found}
        return [experiment for experiment in self.experiments if experiment.id in ids]

    def _uses(self, spec: RunSpec, dataset: str) -> list[Use]:
        known = (spec.preset, spec.seed)
        if known not in self._rows:
            rows = self._rows.setdefault(known, {})
            for experiment in self.experiments:
                for row in experiment.rows:
                    with contextlib.suppress(SuiteError):  # its preset or method no longer exists
                        for one in row_at_preset(row, spec.preset, [spec.seed]).specs:
                            rows.setdefault(one.key, []).append((experiment, Use(experiment.id, row.label)))
        found = self._rows[known].get(spec.key, [])
        return [use for experiment, use in found if (experiment.dataset or "").lower() in dataset.lower()]

    def _read_runs(self, workspace: Workspace) -> None:
        """Note what the runs were asked for, and which of those asked for the same was begun last."""
        begun: dict[tuple[Any, ...], tuple[str, str]] = {}
        for file in workspace.runs.glob("*/spec.json"):
            run = RunDirectory(file.parent)
            try:
                spec = spec_of(run)
                with reading(run.metrics_file):
                    lines = read_json_lines(run.metrics_file)
                    begin = str(lines[0]["time"]) if lines else ""
            except Unsendable:
                continue
            question = _question(spec)
            self._asked.append((asked(spec), spec["dataset"]["name"]))
            if has_started(run):
                # One that trains now may not have logged a line yet.
                first = begin or ("9999" if run.is_locked() else "")
                candidate = (first, run.run_id)  # the folder's name settles a tie
                begun[question] = max(begun.get(question, candidate), candidate)
        self._newest = {question: run_id for question, (_, run_id) in begun.items()}


def _question(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two runs have in common that answer the same question on the same data."""
    return (*asked(spec).key, spec["dataset"]["fingerprint"])
