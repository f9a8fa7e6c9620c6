"""Rows that take their options from a study: ``tuned: reports/mini/studies/ltm_tpe/best.yaml``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.errors import SuiteError
from suite.experiments.schema import Experiment, Row, Scalar, load_yaml

BEST = "best.yaml"
"""File of a study's report that holds its best trial."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Counts(_Strict):
    """How many trials ended in which way."""

    complete: Annotated[int, Field(ge=0)]
    pruned: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]

    @property
    def total(self) -> int:
        """Trials in all."""
        return self.complete + self.pruned + self.failed


class Best(_Strict):
    """The best trial of a study with one objective.

    Attributes:
        study: The study's name.
        fingerprint: Of the study's definition: space, sampler, pruner, objective, method, preset, data, code.
        method: The method that was tuned.
        preset: The preset it was tuned at.
        parameters: All options of the trial: the searched ones and the fixed ones.
        metric: The objective.
        direction: Whether it was maximized or minimized.
        value: The metric's, in its printed unit, mean over the seeds.
        split: ``val`` is the split that tables report: the value is tuned on it.
        evaluated_on: The split in words.
        dataset: Fingerprint of the dataset that the trials trained and were evaluated on.
        constraints: Metric -> upper bound that the trial keeps.
        trials: How many parameters were tried.
        trial: Number of the best one.
        seeds: Training seeds of each trial.
        run_ids: Its runs, one a seed.
    """

    study: str
    fingerprint: str
    method: str
    preset: str
    parameters: dict[str, Scalar | None]
    metric: str
    direction: Literal["maximize", "minimize"]
    value: float
    split: Literal["holdout", "val"]
    evaluated_on: str
    dataset: str
    constraints: dict[str, float]
    trials: Counts
    trial: int
    seeds: list[int]
    run_ids: list[str]

    @property
    def note(self) -> str:
        """What a table must say beside a number made with these parameters."""
        text = f"tuned in {self.trials.total} trials of study {self.study} at preset {self.preset}"
        if self.split == "val":
            return f"{text} ON THE REPORTED SPLIT: its numbers are too good"
        return f"{text}, on held-out training images"


def load_best(path: Path) -> Best:
    """Read a ``best.yaml``.

    Raises:
        SuiteError: The file is missing or is no such file; the message names the line.
    """
    if not path.is_file():
        raise SuiteError(
            f"{path}: there is no such file.",
            "Run the study that makes it: `suite tune STUDY`, at its preset.",
        )
    best: Best = load_yaml(path, Best)
    return best


def with_tuned_options(experiment: Experiment, root: Path) -> tuple[Experiment, dict[str, str]]:
    """The experiment with the parameters of the studies that its rows name.

    A row's own ``options`` come before the study's. Only the file is read: no search is run again.

    Args:
        experiment: The experiment.
        root: The project's folder, which the rows' paths are relative to.

    Returns:
        The experiment, and for each tuned row's label what has to be said beside its numbers: number of
        trials, and whether they were evaluated on the split that tables report.

    Raises:
        SuiteError: A file is missing or is no ``best.yaml``, or it is of another method than its row.
    """
    rows: list[Row] = []
    notes: dict[str, str] = {}
    for index, row in enumerate(experiment.rows):
        if row.tuned is None:
            rows.append(row)
            continue
        try:
            best = load_best(root / row.tuned)
        except SuiteError as error:
            raise SuiteError(
                f"{experiment.at('rows', index, 'tuned')}: {error.message}", error.remedy
            ) from error
        if best.method != row.method:
            where = experiment.at("rows", index, "tuned")
            raise SuiteError(
                f"{where}: {row.tuned} is of method {best.method!r}; the row's method is {row.method!r}.",
                "Name a study of the row's method.",
            )
        rows.append(row.model_copy(update={"options": {**best.parameters, **row.options}}))
        notes[row.label] = best.note
    if not notes:
        return experiment, notes
    return experiment.model_copy(update={"rows": rows}), notes
