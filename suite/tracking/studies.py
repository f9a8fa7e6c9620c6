"""What MLflow is told about a study: a run of its own, the parent of its trials' runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.files import read_json
from suite.tracking.contents import Point, milliseconds
from suite.workspace import Workspace


@dataclass(frozen=True)
class TrackedStudy:
    """A study as its driver leaves it in ``runs/studies/<study>-<preset>/``.

    Attributes:
        folder: That folder.
        about: Content of ``study.json``: at least ``name`` and ``preset``.
        trials: Content of ``trials.json``, by ascending ``number``.
    """

    folder: Path
    about: Mapping[str, Any]
    trials: list[Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> "TrackedStudy | None":
        """The study in a folder; None before its driver has written ``study.json``.

        Raises:
            SuiteError: A file is damaged.
        """
        if not (folder / "study.json").exists():
            return None
        about = read_json(folder / "study.json")
        trials = read_json(folder / "trials.json") if (folder / "trials.json").exists() else []
        try:
            if not isinstance(about["name"], str) or not isinstance(about["preset"], str):
                raise TypeError
            return cls(folder, about, sorted(trials, key=lambda trial: int(trial["number"])))
        except (KeyError, TypeError, ValueError):
            raise SuiteError(
                f"{folder}: study.json or trials.json is not a study's.",
                "The study's command writes both again.",
            ) from None

    @property
    def key(self) -> str:
        """Its ``suite.run_id`` in MLflow."""
        return f"study:{self.folder.name}"

    @property
    def objectives(self) -> list[tuple[str, bool]]:
        """Metric of each objective, and whether it is maximised."""
        given = self.about.get("objectives", [])
        return [(one["metric"], one["direction"] == "maximize") for one in given]

    @property
    def is_running(self) -> bool:
        """Whether a trial is under way, or was when the driver was stopped."""
        return any(trial.get("state") == "RUNNING" for trial in self.trials)

    def trials_of(self, run_id: str) -> list[Mapping[str, Any]]:
        """The trials that a run belongs to."""
        return [
            trial
            for trial in self.trials
            if run_id == trial.get("run_id") or run_id in (trial.get("run_ids") or ())
        ]

    def params(self) -> dict[str, str]:
        """What is searched, how, and which number decides."""
        values = {
            "method": self.about.get("method"),
            "split": self.about.get("split"),
            "sampler": (self.about.get("sampler") or {}).get("name"),
            "pruner": (self.about.get("pruner") or {}).get("name"),
            "objective": ", ".join(
                f"{'maximize' if up else 'minimize'} {metric}" for metric, up in self.objectives
            ),
            "space": " ".join(self.about.get("space") or {}),
        }
        return {name: str(value)[:500] for name, value in values.items() if value}

    def points(self) -> Iterator[Point]:
        """Each trial's value over the trials' numbers, and, of a single objective, the best value so far."""
        best: float | None = None
        for trial in self.trials:
            values = trial.get("values")
            if trial.get("state") != "COMPLETE" or not values or trial.get("ended") is None:
                continue
            time, number = milliseconds(trial["ended"]), int(trial["number"])
            for (metric, _), value in zip(self.objectives, values, strict=False):
                yield f"trial/{metric}", float(value), time, number
            if len(self.objectives) == 1 and trial.get("feasible", True):
                metric, up = self.objectives[0]
                value = float(values[0])
                best = value if best is None else (max if up else min)(best, value)
                yield f"best/{metric}", best, time, number


def read_studies(workspace: Workspace) -> list[TrackedStudy]:
    """Every study of the workspace, by folder name; damaged ones are left out."""
    studies = []
    for file in sorted(workspace.runs.glob("studies/*/study.json")):
        try:
            study = TrackedStudy.read(file.parent)
        except SuiteError:
            continue
        if study is not None:
            studies.append(study)
    return studies
