"""From an experiment and its runs to the cells of its table or figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from suite.errors import SuiteError
from suite.evaluation.measurements import Measurements
from suite.evaluation.metrics import metric
from suite.evaluation.slices import category_shapes, shape_groups
from suite.evaluation.test_dev import read_server_result
from suite.evaluation.uncertainty import THRESHOLDS, difference_of_means, summarise, verdict
from suite.experiments.schema import Experiment, Row
from suite.reporting.cells import Cell, Comparison, improvement
from suite.reporting.claims import MeasuredClaim
from suite.reporting.columns import ItemColumn, columns_of, published_number
from suite.reporting.figure_parts import GROUPS, mean_label
from suite.reporting.fits import Fit, fit_gains
from suite.reporting.inputs import ExperimentInput, RunInput
from suite.reporting.paper_numbers import TEST_DEV, VAL, Answer, Entry, PaperNumbers
from suite.reporting.reasons import in_one_line
from suite.reporting.verdicts import Verdict, judge
from suite.runs.directory import RunDirectory

RELATIVE_UNIT = "% of baseline"
_STATES = {
    "failed": "failed", "stale": "stale", "interrupted": "interrupted", "running": "still running",
    "new": "not run",
}  # fmt: skip
"""State of a run in the plan -> what an empty cell says of it; the worst state comes first."""
_Values = tuple[dict[int, float], str]


@dataclass(frozen=True)
class Item:
    """A table or figure, measured.

    Attributes:
        experiment: What was asked.
        entry: The published table or figure, or None.
        columns: Columns, points or categories.
        cells: Row by row, one for each column.
        verdict: What a reader may conclude.
        claims: What the paper concludes, measured; empty until the report's claims are settled together.
        fits: Lines of a scatter figure.
        audit: What rows differ in besides the declared factor.
        notes: What a reader has to know, found while measuring.
        command: The command that remakes the item.
    """

    experiment: Experiment
    entry: Entry | None
    columns: list[ItemColumn]
    cells: list[Cell]
    command: str
    verdict: Verdict
    claims: list[MeasuredClaim] = field(default_factory=list)
    fits: list[Fit] = field(default_factory=list)
    audit: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The experiment's id."""
        return self.experiment.id

    @property
    def by_category(self) -> bool:
        """Whether the columns are categories."""
        return any(column.categories for column in self.columns)

    def row(self, label: str) -> list[Cell]:
        """The cells of one row, in the order of the columns."""
        return [cell for cell in self.cells if cell.row == label]


def build(given: ExperimentInput, measurements: Measurements, papers: PaperNumbers, comparable: bool) -> Item:
    """Measure an experiment, but for its claims: these are settled with those of the whole report.

    Args:
        given: The experiment and its runs.
        measurements: Reads the runs.
        papers: The papers' numbers.
        comparable: Whether levels may be judged against published ones.

    Raises:
        SuiteError: The experiment names an unknown metric, slice, published row or column.
    """
    experiment = given.experiment
    entry = papers.entry_of(experiment)
    if experiment.picture is not None:
        verdict_of_picture = judge(experiment, [], [])
        return Item(experiment, entry, [], [], given.command, verdict_of_picture, notes=list(given.notes))
    columns, notes = _columns(experiment, measurements)
    for column in columns:  # found even if no run is done
        metric(column.metric)
        if column.slice is not None:
            measurements.images(column.slice)
    values = {
        (row.label, column.label): _values(row, column, given, measurements)
        for row in experiment.rows
        for column in columns
    }
    cells = []
    for row in experiment.rows:
        for column in columns:
            cell = _cell(given, row, column, values, published_number(experiment, row, column, papers))
            measured_on = entry.split if entry and cell.published is not None else None
            cells.append(replace(cell, published_split=measured_on or ""))
    baseline = {cell.column: cell for cell in cells if cell.row == experiment.baseline}
    cells = [_against(cell, baseline[cell.column]) for cell in cells]
    by_label = {(row.label, column.label): (row, column) for row in experiment.rows for column in columns}
    cells = [_on_test_dev(cell, *by_label[cell.row, cell.column], given) for cell in cells]
    if comparable:
        cells = [_judged(cell, *by_label[cell.row, cell.column], entry, papers) for cell in cells]
    cells = [_counted(cell, *by_label[cell.row, cell.column], given, measurements) for cell in cells]
    fits = []
    if experiment.figure and experiment.figure.kind == "scatter":
        ratios = {column.label: column.aspect_ratio or 1.0 for column in columns}
        fits = fit_gains(experiment, ratios, cells)
    return Item(
        experiment, entry, columns, cells, given.command, judge(experiment, cells, []),
        [], fits, list(given.audit), [*given.notes, *notes],
    )  # fmt: skip


def _columns(experiment: Experiment, measurements: Measurements) -> tuple[list[ItemColumn], list[str]]:
    if experiment.columns:
        return columns_of(experiment), []
    shapes = category_shapes(measurements.truth)
    by_name = {
        name: ItemColumn(name, "AP", categories=(name,), aspect_ratio=ratio, objects=objects)
        for name, ratio, objects in zip(
            shapes["name"], shapes["aspect_ratio"], shapes["objects"], strict=True
        )
    }

    wanted = experiment.figure.categories if experiment.figure else {}
    if not wanted:
        return list(by_name.values()), []
    square_names, slender_names = (tuple(wanted[group]) for group in GROUPS)
    chosen = shape_groups(measurements.truth, square_names, slender_names)
    columns, notes = [], []
    for group, names in chosen.groups.items():
        columns += [replace(by_name[name], group=group) for name in names]
        objects = sum(by_name[name].objects or 0 for name in names)
        columns.append(
            ItemColumn(mean_label(group), "AP", categories=tuple(names), group=group, objects=objects)
        )
    if chosen.by_statistic:
        square, slender = (", ".join(chosen.groups[group]) for group in GROUPS)
        notes.append(
            f"The dataset lacks the paper's categories. Shown instead are its squarest ({square}) and its "
            f"most slender ({slender}) by the mean of max(w/h, h/w) over a category's boxes; only the means "
            "of the groups have a published counterpart."
        )
    return columns, notes


def _values(row: Row, column: ItemColumn, given: ExperimentInput, measurements: Measurements) -> _Values:
    """Our number for each seed, or why there is none. One missing seed empties the cell."""
    if row.method is None:
        return {}, row.why_published_only or "published numbers only"
    if row.label in given.unmeasurable:
        return {}, given.unmeasurable[row.label]
    runs = given.runs.get(row.label, ())
    missing = [run for run in runs if run.directory is None]
    if missing or not runs:
        return {}, _why_missing(runs, missing)
    by_seed: dict[int, float] = {}
    try:
        for run in runs:
            assert run.directory is not None
            value = value_of(column, run.directory, measurements)
            if value is None:
                lost = metric(column.metric).source == "result"
                because = (
                    f"seed {run.seed} lost the log of its training" if lost else "undefined on these images"
                )
                return {}, f"not measurable: {because}"
            by_seed[run.seed] = value
    except SuiteError as error:
        return {}, f"cannot be measured: {in_one_line(error)}"
    return by_seed, ""


def value_of(column: ItemColumn, run: RunDirectory, measurements: Measurements) -> float | None:
    """A run's number in a column, in its printed unit; None where it is undefined.

    Raises:
        SuiteError: A file of the run is damaged.
    """
    if not column.categories:
        return measurements.value(run, column.metric, column.slice)
    by_category = measurements.category_ap(run)
    return float(np.mean([by_category[name] for name in column.categories]))


def _why_missing(runs: Sequence[RunInput], missing: Sequence[RunInput]) -> str:
    """The worst state of the missing runs, how many seeds are done, and the states of the others."""
    states = {run.state for run in missing}
    state = next((one for one in _STATES if one in states), "new")
    if not runs or (len(missing) == len(runs) and states == {"new"}):
        return _STATES["new"]
    parts = []
    for run in missing:
        because = f" ({run.reason})" if run.reason and run.state in ("stale", "failed") else ""
        parts.append(f"seed {run.seed} {_STATES.get(run.state, run.state)}{because}")
    return f"{_STATES[state]}: {len(runs) - len(missing)} of {len(runs)} seeds done; " + ", ".join(parts)


def _cell(
    given: ExperimentInput,
    row: Row,
    column: ItemColumn,
    values: Mapping[tuple[str, str], _Values],
    answer: Answer,
) -> Cell:
    by_seed, reason = values[row.label, column.label]
    unit, runs = metric(column.metric).unit, list(given.runs.get(row.label, ()))
    if row.relative_to is not None and row.improvement_of is not None:
        unit = RELATIVE_UNIT
        sources = (row.improvement_of, row.relative_to)
        runs = [run for label in sources for run in given.runs.get(label, ())]
        (new, why_new), (old, why_old) = (values[label, column.label] for label in sources)
        by_seed, reason = improvement(new, old), why_new or why_old
        if not by_seed and not reason:
            reason = "not measurable: no equal seeds with a baseline above 0"
    return Cell(
        row=row.label,
        column=column.label,
        metric=column.metric,
        unit=unit,
        summary=summarise(by_seed),
        reason=reason,
        by_seed=by_seed,
        published=answer.value,
        published_reason=answer.reason,
        tuned=given.tuned.get(row.label, ""),
        run_ids=tuple(run.run_id for run in runs) if by_seed else (),
        command=given.command if row.method is not None or row.relative_to is not None else "",
    )


def _against(cell: Cell, baseline: Cell) -> Cell:
    """Add the difference to the baseline's row, ours and the paper's; of times there is none to tell."""
    if cell.row == baseline.row or cell.unit == RELATIVE_UNIT or metric(cell.metric).timed:
        return cell
    theirs = None
    if cell.published is not None and baseline.published is not None:
        theirs = cell.published - baseline.published
    ours = difference_of_means(cell.by_seed, baseline.by_seed)
    return replace(cell, difference=ours, published_difference=theirs)


def _on_test_dev(cell: Cell, row: Row, column: ItemColumn, given: ExperimentInput) -> Cell:
    """Add what the evaluation server answered for the row's runs; of a damaged file, that it is."""
    if cell.metric not in THRESHOLDS or column.slice is not None or column.categories or row.method is None:
        return cell
    by_seed, sources = {}, []
    for run in given.runs.get(row.label, ()):
        try:
            answer = run.directory and read_server_result(run.directory)
        except SuiteError as error:
            sources.append(f"seed {run.seed}: {in_one_line(error)}")
            continue
        if answer:
            by_seed[run.seed] = 100 * answer.metrics[cell.metric]
            sources.append(f"seed {run.seed}: {answer.source}")
    return replace(cell, test_dev=summarise(by_seed), test_dev_source="; ".join(sources))


def _judged(cell: Cell, row: Row, column: ItemColumn, entry: Entry | None, papers: PaperNumbers) -> Cell:
    """Add the comparison with a number published for the same split, or why there is none.

    The paper's own number comes first, where we have one on its split: on test-dev that of the evaluation
    server. Else it is one of the same detector on val2017: another table's, else the official repository's.
    Only metrics with thresholds of their own are compared, on all images and categories.
    """
    if cell.published is None or entry is None or row.published is None or column.published is None:
        return cell
    if cell.metric not in THRESHOLDS or column.slice is not None or cell.unit == RELATIVE_UNIT:
        return cell
    candidates = [(VAL, cell.summary)]
    if entry.split == TEST_DEV:
        candidates.insert(0, (TEST_DEV, cell.test_dev))
    for split, ours in candidates:
        theirs = papers.on_split(entry.id, row.published, column.published, split)
        if ours is not None and theirs is not None:
            word = verdict(ours, theirs.value, cell.metric)
            return replace(cell, comparison=Comparison(split, ours, theirs.value, theirs.source, word))
    if cell.summary is None:
        return cell
    return replace(cell, not_compared=f"published on {entry.split}; ours on {VAL}: not compared")


def _counted(
    cell: Cell, row: Row, column: ItemColumn, given: ExperimentInput, measurements: Measurements
) -> Cell:
    """Add how many images and objects were measured: the same for every seed."""
    if cell.summary is None or row.method is None:
        return cell
    if column.categories:
        return replace(cell, rests_on={"objects": column.objects or 0})
    first = given.runs[row.label][0].directory
    assert first is not None
    return replace(cell, rests_on=measurements.rests_on(first, column.metric, column.slice))
