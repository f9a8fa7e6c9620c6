"""What is wrong with a study, found before any trial starts: messages name the file and the line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from suite.data.dataset import Dataset
from suite.errors import SuiteError, nearest
from suite.evaluation.metrics import METRICS
from suite.experiments.schema import line_of
from suite.runs.configs import method_info, preset_info
from suite.runs.options import check_options, spec_at
from suite.runs.resolve import resolve
from suite.tuning.objectives import is_recall
from suite.tuning.space import ordered
from suite.tuning.study import NoPruner, Nsgaii, SearchDimension, Study

PRUNED_BY = "AP"
"""The metric that is known while a run trains."""


def check_study(study: Study, path: Path, preset: str) -> None:
    """Check a study's names, ranges and combinations; needs no dataset.

    Args:
        study: The study.
        path: Its file.
        preset: The preset it is run at.

    Raises:
        SuiteError: Method, preset, option or metric is unknown, a range is illegal, or parts of the study do
            not go together.
    """
    preset_info(preset)
    with _At(path, "method"):
        known = method_info(study.method)["options"]
    for name, value in study.options.items():
        with _At(path, "options", name):
            check_options(study.method, {name: value})
    for name, dimension in study.space.items():
        _check_dimension(study, path, preset, name, dimension, known)
    with _At(path, "space"):
        ordered(study.space)
    _check_grid(study, path)
    _check_metrics(study, path)


def check_resolved(study: Study, path: Path, preset: str, dataset: Dataset) -> None:
    """Check what only whole configs tell: corners of the space, and that the detector gives the metrics.

    Raises:
        SuiteError: A corner of the space is illegal, or a metric is not produced.
    """
    for corner in _corners(study.space):
        with _At(path, "space"):
            spec = spec_at(study.method, preset, study.seeds[0], {**study.options, **corner})
            config = resolve(spec, dataset)
        for field, index, metric in _metrics(study):
            if problem := _missing(config["model"], metric):
                raise SuiteError(
                    f"{_place(path, field, index)}: field {field}: {problem}",
                    f"Choose another metric, or a method that produces {metric}.",
                )


class _At:
    """Puts file, line and field before the message of an error."""

    def __init__(self, path: Path, *location: str | int) -> None:
        self._path = path
        self._location = location

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SuiteError):
            field = ".".join(map(str, self._location))
            raise SuiteError(
                f"{_place(self._path, *self._location)}: field {field}: {error.message}", error.remedy
            ) from error


def _place(path: Path, *location: str | int) -> str:
    return f"{path}:{line_of(yaml.compose(path.read_text(), Loader=yaml.SafeLoader), location)}"


def _check_dimension(
    study: Study, path: Path, preset: str, name: str, dimension: SearchDimension, known: Mapping[str, Any]
) -> None:
    with _At(path, "space", name):
        if name in study.options:
            raise SuiteError(f"{name!r} is also among the fixed options.", "Take it out of one of them.")
        values = dimension.choices if dimension.choices is not None else [dimension.low, dimension.high]
        for value in values:
            check_options(study.method, {name: value})
        for other, wanted in dimension.when.items():
            if other not in study.space:
                raise SuiteError(
                    f"the condition names {other!r}, which is not in the space.{nearest(other, study.space)}"
                )
            possible = study.space[other].values
            never = [value for value in wanted if possible is None or value not in possible]
            if never:
                raise SuiteError(
                    f"the condition wants {other} to be {never[0]!r}, which it never is; "
                    f"it may be {', '.join(map(str, possible)) if possible else 'any number of a range'}."
                )


def _check_grid(study: Study, path: Path) -> None:
    if study.sampler.name != "grid":
        return
    for name, dimension in study.space.items():
        with _At(path, "space", name):
            if dimension.values is None:
                raise SuiteError(
                    "a grid sampler needs a grid, and this range has no step.",
                    "Give it 'step' without 'log', or 'choices'; or choose another sampler.",
                )
            if dimension.when:
                raise SuiteError("a grid has no conditional dimensions.", "Make a study for each condition.")
    if study.trials != study.grid_size:
        with _At(path, "trials"):
            raise SuiteError(
                f"the grid has {study.grid_size} points, found {study.trials} trials.",
                f"Write trials: {study.grid_size}; `--trials` may still be less.",
            )


def _metrics(study: Study) -> Iterator[tuple[str, int, str]]:
    for field in ("objectives", "constraints"):
        for index, one in enumerate(getattr(study, field)):
            yield field, index, one.metric


def _check_metrics(study: Study, path: Path) -> None:
    for field, index, metric in _metrics(study):
        with _At(path, field, index):
            if metric not in METRICS:
                raise SuiteError(
                    f"metric {metric!r} is unknown.{nearest(metric, METRICS)}",
                    f"Known: {', '.join(METRICS)}.",
                )
    several = len(study.objectives) > 1
    with _At(path, "sampler"):
        if isinstance(study.sampler, Nsgaii) and not several:
            raise SuiteError("nsgaii is for several objectives, found one.", "Choose tpe, random or grid.")
    if isinstance(study.pruner, NoPruner):
        return
    with _At(path, "pruner"):
        first = study.objectives[0]
        if several:
            raise SuiteError(
                f"Optuna cannot prune with several objectives, found pruner {study.pruner.name!r}.",
                "Write pruner: {name: none}.",
            )
        if (first.metric, first.direction) != (PRUNED_BY, "maximize"):
            raise SuiteError(
                f"{study.pruner.name!r} prunes by {PRUNED_BY}, the metric that is known while a run trains; "
                f"the objective is to {first.direction} {first.metric}.",
                "Write pruner: {name: none}, or maximize AP.",
            )


def _corners(space: Mapping[str, SearchDimension]) -> list[dict[str, Any]]:
    """Trials at the ends of the ranges: all low, all high, and each choice."""
    found = []
    widest = max(len(dimension.choices or ()) for dimension in space.values())
    for index in range(max(2, widest)):
        corner: dict[str, Any] = {}
        for name in ordered(space):
            dimension = space[name]
            if all(corner.get(other) in values for other, values in dimension.when.items()):
                ends: list[Any] = dimension.choices or [dimension.low, dimension.high]
                corner[name] = ends[index % len(ends)]
        found.append(corner)
    return found


def _missing(model: Mapping[str, Any], metric: str) -> str | None:
    """Why a detector does not give a metric, or None if it does."""
    head = model.get("bbox_head")
    if is_recall(metric) and head is None:
        return f"{metric} needs a detector with a dense head, which {model['type']} is not."
    if metric.startswith("IoU_") and (head or {}).get("auxiliary") != "iou":
        return f"{metric} needs a head that predicts IoU; this one does not."
    return None
