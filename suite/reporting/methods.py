"""All methods side by side: AP, AP where it is hard, and what training and inference cost.

A method is measured as it is, without options of its own: variants are in their tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from suite.errors import SuiteError
from suite.evaluation.measurements import Measurements
from suite.evaluation.slices import CROWDEDNESS, category_shapes, objects_by_size, shape_groups
from suite.evaluation.uncertainty import Summary, summarise
from suite.files import read_json_lines
from suite.reporting.inputs import MethodInput
from suite.reporting.reasons import in_one_line
from suite.runs.directory import RunDirectory
from suite.text import counted

SLICES = {crowd: f"crowdedness={crowd}" for crowd in CROWDEDNESS}
"""Heading of a column -> the slice of images that it is measured on."""
_SIZES = {"small": "APS", "medium": "APM", "large": "APL"}


@dataclass(frozen=True)
class MethodColumn:
    """A column of the table of methods.

    Attributes:
        group: Heading over several columns; empty for a column that stands alone.
        label: Heading.
        unit: ``%``, ``s`` (of a training) or ``ms`` (of an image).
        metric: Name in the metric registry.
        slice: Slice of images, or None for all.
        categories: Categories whose AP is averaged; empty for all.
        rests_on: What sets it apart from other columns, for people: how many objects or images.
        images, objects: How many it was measured on; 0 for times.
    """

    group: str
    label: str
    unit: str
    metric: str
    slice: str | None = None
    categories: tuple[str, ...] = ()
    rests_on: str = ""
    images: int = 0
    objects: int = 0

    @property
    def of_machine(self) -> bool:
        """Whether it depends on the machine, so that a difference says little about the methods."""
        return self.unit != "%"


@dataclass(frozen=True)
class Method:
    """A method, measured.

    Attributes:
        label: Its name for people.
        runs: Training seed -> the run.
        numbers: Column -> training seed -> the number in the column's unit, where it is defined.
        validations: Training seed -> training step -> AP in percent on the few images that a training
            validates on.
    """

    label: str
    runs: dict[int, RunDirectory]
    numbers: dict[MethodColumn, dict[int, float]]
    validations: dict[int, dict[int, float]]

    def summary(self, column: MethodColumn) -> Summary | None:
        """A column's number over seeds; None without any."""
        return summarise(self.numbers[column])


@dataclass(frozen=True)
class MethodTable:
    """The methods of a report.

    Attributes:
        columns: What was measured; the first is AP on all images.
        methods: From the highest AP to the lowest.
        notes: What a reader has to know about the columns, and which runs could not be measured.
    """

    columns: list[MethodColumn]
    methods: list[Method]
    notes: list[str] = field(default_factory=list)


def method_columns(measurements: Measurements) -> tuple[list[MethodColumn], list[str]]:
    """The columns on this data, and which categories they call square and slender."""
    truth = measurements.truth
    images, objects = len(truth.images), len(truth.objects)
    everything = f"{counted(images, 'image')}, {counted(objects, 'object')}"
    columns = [MethodColumn("", "AP", "%", "AP", rests_on=everything, images=images, objects=objects)]
    for size, count in objects_by_size(truth).items():
        columns.append(
            MethodColumn(
                "AP by size of the object", size, "%", _SIZES[size], rests_on=counted(count, "object"),
                images=images, objects=count,
            )
        )  # fmt: skip
    for crowd, selection in SLICES.items():
        ids = measurements.images(selection)
        columns.append(
            MethodColumn(
                "AP by crowdedness of the image", crowd, "%", "AP", selection,
                rests_on=counted(len(ids), "image"), images=len(ids),
                objects=int(truth.objects["image_id"].isin(ids).sum()),
            )
        )  # fmt: skip
    of_category = category_shapes(truth).set_index("name")["objects"]
    shapes = {shape: names for shape, names in shape_groups(truth).groups.items() if names}
    for shape, names in shapes.items():
        count = int(of_category[names].sum())
        columns.append(
            MethodColumn(
                "AP by shape of the category", shape, "%", "AP", categories=tuple(names),
                rests_on=counted(count, "object"), images=images, objects=count,
            )
        )  # fmt: skip
    columns += [
        MethodColumn("", "training of a run", "s", "train_hours"),
        MethodColumn("", "inference of an image", "ms", "fps"),
    ]
    return columns, [f"{shape.capitalize()}: {', '.join(names)}." for shape, names in shapes.items()]


def measure_methods(given: Sequence[MethodInput], measurements: Measurements) -> MethodTable:
    """Measure methods on those of their runs that are done; a method without any is left out."""
    columns, notes = method_columns(measurements)
    methods = []
    for one in given:
        method = Method(one.label, {}, {column: {} for column in columns}, {})
        for run in one.runs:
            if run.directory is None:
                continue
            try:
                numbers = {column: _number(run.directory, column, measurements) for column in columns}
            except SuiteError as error:
                notes.append(f"{one.label}, seed {run.seed}, cannot be measured: {in_one_line(error)}")
                continue
            method.runs[run.seed] = run.directory
            try:
                method.validations[run.seed] = validations(run.directory)
            except SuiteError as error:
                notes.append(f"{one.label}, seed {run.seed}, has no curve: {in_one_line(error)}")
            for column, value in numbers.items():
                if value is not None:
                    method.numbers[column][run.seed] = value
        if method.runs:
            methods.append(method)
    return MethodTable(columns, sorted(methods, key=lambda one: _rank(one, columns[0])), notes)


def _rank(method: Method, column: MethodColumn) -> tuple[float, str]:
    found = method.summary(column)
    return (-found.mean if found else 0.0, method.label)


def _number(run: RunDirectory, column: MethodColumn, measurements: Measurements) -> float | None:
    if column.categories:
        of_category = measurements.category_ap(run)
        return float(np.mean([of_category[name] for name in column.categories]))
    value = measurements.value(run, column.metric, column.slice)
    if value is None or column.unit == "%":
        return value
    return 3600 * value if column.unit == "s" else 1000 / value


def validations(run: RunDirectory) -> dict[int, float]:
    """Training step -> AP in percent of each validation during a run's training.

    An epoch that was done again after an interruption counts once.

    Raises:
        SuiteError: ``metrics.jsonl`` is damaged.
    """
    try:
        lines = [line for line in read_json_lines(run.metrics_file) if "val_AP" in line]
        return {int(line["step"]): 100 * float(line["val_AP"]) for line in lines}
    except (KeyError, TypeError, ValueError) as error:
        raise SuiteError(f"{run.metrics_file}: a line of a validation is damaged.") from error
