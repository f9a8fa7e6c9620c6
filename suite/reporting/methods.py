"""All methods side by side: AP, AP where it is hard, and what training and inference cost.

A method is measured as it is, without options of its own: variants are in their tables. What was measured is kept in ``methods.json`` beside the items, so that rendering one table leaves the others' methods.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from suite.errors import SuiteError
from suite.evaluation.measurements import Measurements
from suite.evaluation.slices import CROWDEDNESS, category_shapes, objects_by_size, shape_groups
from suite.evaluation.uncertainty import Summary, summarise
from suite.files import read_json_lines
from suite.reporting.inputs import MethodInput, ReportInput
from suite.reporting.reasons import in_one_line
from suite.runs.directory import RunDirectory
from suite.text import counted

METHODS_FILE = "methods.json"
AP, TRAINING, INFERENCE = "AP", "training", "inference"
_SIZES = {"small": "APS", "medium": "APM", "large": "APL"}


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Kept):
    """A column of the table of methods.

    Attributes:
        key: Unique name.
        group: Heading over several columns; empty for a column that stands alone.
        label: Heading.
        unit: ``%``, ``s`` (of a training) or ``ms`` (of an image).
        rests_on: What the column was measured on, for people; empty for times.
    """

    key: str
    group: str
    label: str
    unit: str
    rests_on: str = ""

    @property
    def of_machine(self) -> bool:
        """Whether it depends on the machine, so that no difference in it says anything about a method."""
        return self.unit != "%"


class SeedNumbers(_Kept):
    """What one run of a method gave.

    Attributes:
        run_id: The run.
        values: Key of a column -> its number in the column's unit; None where it is undefined or was lost.
        validation: Training step -> AP in percent, on the few images that a training validates on.
    """

    run_id: str
    values: dict[str, float | None]
    validation: list[tuple[int, float]]


class MethodNumbers(_Kept):
    """A method's numbers.

    Attributes:
        name: Name in ``suite/configs/methods``, and the schedule where it is not the usual one.
        label: Its name for people.
        seeds: Training seed -> what that run gave.
        problems: Runs that cannot be measured, and why.
    """

    name: str
    label: str
    seeds: dict[int, SeedNumbers]
    problems: list[str] = []

    def by_seed(self, key: str) -> dict[int, float]:
        """A column's number for each seed that has one."""
        values = {seed: one.values.get(key) for seed, one in self.seeds.items()}
        return {seed: value for seed, value in values.items() if value is not None}

    def summary(self, key: str) -> Summary | None:
        """A column's number over seeds; None without any."""
        return summarise(self.by_seed(key))


class MethodTable(_Kept):
    """The methods of a report.

    Attributes:
        dataset: Fingerprint of the data that all were trained and evaluated on.
        columns: What was measured.
        notes: What a reader has to know about the columns.
        methods: The methods, in the order of the methods' first use.
    """

    dataset: str
    columns: list[Column]
    notes: list[str]
    methods: list[MethodNumbers]


def measure_methods(report: ReportInput, measurements: Measurements) -> MethodTable:
    """Measure the report's methods on the runs of each that are done.

    Raises:
        SuiteError: The dataset has no crowdedness to slice by.
    """
    truth = measurements.truth
    shapes = shape_groups(truth)
    groups = shapes.groups
    of_shape = category_shapes(truth).set_index("name")["objects"]
    columns = [_column(AP, "", "AP", f"{len(truth.images):,} images, {len(truth.objects):,} objects")]
    columns += [
        _column(_SIZES[size], "AP by size of the object", size, counted(count, "object"))
        for size, count in objects_by_size(truth).items()
    ]
    columns += [
        _column(
            bin_, "AP by crowdedness of the image", bin_, counted(len(_images(measurements, bin_)), "image")
        )
        for bin_ in CROWDEDNESS
    ]
    columns += [
        _column(
            shape,
            "AP by shape of the category",
            shape,
            f"{counted(len(names), 'category', 'categories')}, {counted(int(of_shape[names].sum()), 'object')}",
        )
        for shape, names in groups.items()
    ]
    columns += [
        Column(key=TRAINING, group="", label="training of a run", unit="s"),
        Column(key=INFERENCE, group="", label="inference per image", unit="ms"),
    ]
    for one in report.methods:
        for run in one.runs:
            for bin_ in CROWDEDNESS if run.directory is not None else ():
                measurements.expect(run.directory, f"crowdedness={bin_}")
    methods = [_measured(one, groups, measurements) for one in report.methods]
    notes = [f"{shape.capitalize()} categories: {', '.join(names)}." for shape, names in groups.items()]
    return MethodTable(dataset=report.dataset.fingerprint, columns=columns, notes=notes, methods=methods)


def _column(key: str, group: str, label: str, rests_on: str) -> Column:
    return Column(key=key, group=group, label=label, unit="%", rests_on=rests_on)


def _images(measurements: Measurements, bin_: str) -> frozenset[int]:
    return measurements.images(f"crowdedness={bin_}")


def _measured(
    given: MethodInput, groups: Mapping[str, Sequence[str]], measurements: Measurements
) -> MethodNumbers:
    seeds, problems = {}, []
    for run in given.runs:
        if run.directory is None:
            continue
        try:
            values = _values(run.directory, groups, measurements)
            validation = validation_of(run.directory)
        except SuiteError as error:
            problems.append(f"{given.label}, seed {run.seed}, cannot be measured: {in_one_line(error)}")
            continue
        seeds[run.seed] = SeedNumbers(run_id=run.run_id, values=values, validation=validation)
    return MethodNumbers(name=given.name, label=given.label, seeds=seeds, problems=problems)


def _values(
    run: RunDirectory, groups: Mapping[str, Sequence[str]], measurements: Measurements
) -> dict[str, float | None]:
    values = {AP: measurements.value(run, "AP")}
    values |= {metric: measurements.value(run, metric) for metric in _SIZES.values()}
    values |= {bin_: measurements.value(run, "AP", f"crowdedness={bin_}") for bin_ in CROWDEDNESS}
    of_category = measurements.category_ap(run)
    values |= {
        shape: float(np.mean([of_category[name] for name in names])) for shape, names in groups.items()
    }
    hours, speed = measurements.value(run, "train_hours"), measurements.value(run, "fps")
    values[TRAINING] = None if hours is None else 3600 * hours
    values[INFERENCE] = 1000 / speed if speed else None
    return {key: None if value is None else round(value, 6) for key, value in values.items()}


def validation_of(run: RunDirectory) -> list[tuple[int, float]]:
    """Training step and AP in percent of each validation during a run's training, by step.

    An epoch that was done again after an interruption counts once.

    Raises:
        SuiteError: ``metrics.jsonl`` is damaged.
    """
    if not run.metrics_file.exists():
        return []
    try:
        found = {
            int(line["step"]): round(100 * float(line["val_AP"]), 6)
            for line in read_json_lines(run.metrics_file)
            if "val_AP" in line
        }
    except (KeyError, TypeError, ValueError) as error:
        raise SuiteError(f"{run.metrics_file}: a line of a validation is damaged.") from error
    return sorted(found.items())


def merged(now: MethodTable, folder: Path) -> MethodTable:
    """The methods measured now, and those that an earlier report left in the folder, on the same data.

    A damaged file counts as none: rendering all experiments writes it again.
    """
    try:
        earlier = MethodTable.model_validate_json((folder / METHODS_FILE).read_bytes())
    except (OSError, ValidationError):
        return now
    if (earlier.dataset, earlier.columns) != (now.dataset, now.columns):
        return now
    names = [one.name for one in now.methods]
    kept = [one for one in earlier.methods if one.name not in names]
    return now.model_copy(update={"methods": sorted([*now.methods, *kept], key=lambda one: one.name)})
