"""What an experiment file may name: methods, options, metrics, slices, published rows and columns, pictures.

All of it is checked before a run starts. The error for a mistake names file, line, field and remedy.
"""

from collections.abc import Sequence
from typing import Any

from suite.errors import SuiteError, nearest
from suite.evaluation.bins import IMAGE_BINS
from suite.evaluation.metrics import OPTION, metric, resamples
from suite.experiments.fairness import check_factor
from suite.experiments.schema import Experiment
from suite.reporting.check_figures import check_figure, check_picture
from suite.reporting.columns import columns_of, published_number
from suite.reporting.contrast import contrast_of, published_effect
from suite.reporting.paper_numbers import Entry, PaperNumbers
from suite.runs.configs import load, method_info
from suite.runs.options import check_options

SETTLED_BY_ONE = 0.5
"""A published effect of at least this size, in percent, is no "no difference": one configuration spreads by
0.13 AP over seeds on COCO (standard deviation), so that the difference of two single trainings reaches it
once in 150 times."""


def check_experiments(experiments: Sequence[Experiment], preset: str, papers: PaperNumbers) -> None:
    """Check all that experiments name.

    Raises:
        SuiteError: An experiment names something that does not exist, or its rows differ in an undeclared
            factor. It is about the first mistake found.
    """
    for experiment in experiments:
        _check_rows(experiment, preset)
        check_factor(experiment)
        _check_columns(experiment)
        _check_published(experiment, papers)
        if experiment.picture is not None:
            check_picture(experiment, experiment.picture)
        if experiment.figure is not None:
            check_figure(experiment, experiment.figure, papers.entry_of(experiment))
        _check_claims(experiment, papers)


def _located(experiment: Experiment, location: tuple[int | str, ...], check, *arguments) -> None:  # type: ignore[no-untyped-def]
    """Run a check, and add the place in the file to its error."""
    try:
        check(*arguments)
    except SuiteError as error:
        raise SuiteError(f"{experiment.at(*location)}: {error.message}", error.remedy) from error


def _check_rows(experiment: Experiment, preset: str) -> None:
    for index, row in enumerate(experiment.rows):
        if row.method is not None:
            _located(experiment, ("rows", index), check_options, row.method, row.options)


def _check_columns(experiment: Experiment) -> None:
    for index, column in enumerate(experiment.columns):
        _located(experiment, ("columns", index, "metric"), _check_metric, experiment, column.metric)
        if column.slice is not None:
            _located(experiment, ("columns", index, "slice"), _check_slice, column.slice)


def _check_claims(experiment: Experiment, papers: PaperNumbers) -> None:
    """Check that each claim names columns that there are, is measurable by them, and fits the paper."""
    labels = [column.label for column in columns_of(experiment)]
    figure = experiment.figure
    for index, claim in enumerate(experiment.claims):
        _check_rows_of(experiment, index)
        for field in ("column", "first", "last"):
            wanted = getattr(claim, field)
            if wanted is not None and labels and wanted not in labels:
                raise SuiteError(
                    f"{experiment.at('claims', index, field)}: {wanted!r} is no column's label."
                    f"{nearest(wanted, labels)}",
                    f"Columns: {', '.join(labels)}.",
                )
        if claim.kind == "slope" and (figure is None or figure.kind != "scatter"):
            raise SuiteError(
                f"{experiment.at('claims', index, 'kind')}: 'slope' is that of the line in a figure of kind "
                "'scatter', and this item is none.",
                "Claim 'gain', 'gain_rises' or 'trend', or draw a scatter figure.",
            )
        first, last = claim.first or next(iter(labels), None), claim.last or next(reversed(labels), None)
        if claim.kind == "gain_rises" and first is not None and first == last:
            raise SuiteError(
                f"{experiment.at('claims', index)}: the gain cannot rise from column {first!r} to itself.",
                "Name two columns: the field 'first' is the first column by default, 'last' the last one.",
            )
        if labels:
            _check_contrast(experiment, index, papers)


def _check_rows_of(experiment: Experiment, index: int) -> None:
    """Check that a claim compares two different rows with runs; a trend, at least three published ones."""
    claim, where = experiment.claims[index], ("claims", index)
    rows = [row for row in experiment.rows if row.method is not None]
    labels = [row.label for row in rows]
    if claim.kind == "trend":
        if (found := sum(row.published is not None for row in rows)) < 3:
            raise SuiteError(
                f"{experiment.at(*where)}: a trend needs three rows with a method and 'published'; found "
                f"{found}.",
                "Claim 'gain' for two rows, or name the rows' published numbers.",
            )
        return
    for field in ("row", "over"):
        label = getattr(claim, field)
        if label is not None and label not in labels:
            raise SuiteError(
                f"{experiment.at(*where, field)}: {label!r} is no row with a method.{nearest(label, labels)}",
                f"Rows: {', '.join(map(repr, labels))}.",
            )
    if claim.row == (claim.over or experiment.baseline):
        raise SuiteError(
            f"{experiment.at(*where, 'row')}: {claim.row!r} is compared with itself"
            + ("." if claim.over else ": it is the item's baseline."),
            "Name another row, or in the field 'over' the row that it is compared with.",
        )


def _check_contrast(experiment: Experiment, index: int, papers: PaperNumbers) -> None:
    """Check that a claim can be measured, and that the published numbers do not say the opposite of it."""
    claim, columns = experiment.claims[index], columns_of(experiment)
    published = {
        (row.label, column.label): published_number(experiment, row, column, papers).value
        for row in experiment.rows
        for column in columns
    }
    if claim.kind == "trend":
        place = claim.column or columns[0].label
        numbers = {published[row.label, place] for row in experiment.rows if row.method} - {None}
        if len(numbers) < 2:
            raise SuiteError(
                f"{experiment.at('claims', index)}: no two rows of column {place!r} have different published "
                "numbers: there is no trend that ours could follow.",
                "Claim 'gain' for two of its rows, or name another column.",
            )
    contrast = contrast_of(experiment, claim, columns, published)
    for column in columns:
        if column.label in contrast.columns and not resamples(column.metric):
            raise SuiteError(
                f"{experiment.at('claims', index)}: the metric of column {column.label!r}, "
                f"{column.metric!r}, cannot be computed on other images, and a claim must hold for them.",
                "Name a column of AP or of NMS recall in the claim's field 'column', or leave the claim out.",
            )
    effect = published_effect(contrast, published)
    if effect is not None and (fits := _fitting(round(effect, 6))) and claim.expected not in fits:
        raise SuiteError(
            f"{experiment.at('claims', index, 'expected')}: {claim.expected!r}, and the published numbers "
            f"give {effect:+.1f}.",
            f"Expect {fits[0]!r}, or name other rows or columns.",
        )


def _fitting(effect: float) -> list[str]:
    """What a published effect, in percent, can be claimed to be."""
    fits = ["positive"] * (effect > 0) + ["negative"] * (effect < 0)
    return fits + ["no difference"] * (abs(effect) < SETTLED_BY_ONE)


def _check_metric(experiment: Experiment, name: str) -> None:
    metric(name)
    if name.startswith(OPTION):
        option = name.removeprefix(OPTION)
        for row in experiment.rows:
            if row.method is None:
                continue
            known = method_info(row.method)["options"]
            if option not in known:
                raise SuiteError(
                    f"metric {name!r}: method {row.method!r} has no option {option!r}."
                    f"{nearest(option, known)}",
                    f"Its options: {', '.join(known)}.",
                )
            value = row.options.get(option, _default(row.method, known[option]))
            if not isinstance(value, int | float):
                raise SuiteError(
                    f"metric {name!r}: in row {row.label!r} the option is {value!r}, which is no number.",
                    "Leave the column out: a table shows numbers.",
                )


def _default(method: str, target: str | list[str]) -> Any:
    """The value that an option has in its method's file; ``target`` is its place in the config."""
    value: Any = load("methods", method)
    for key in (target if isinstance(target, str) else target[0]).split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _check_slice(text: str) -> None:
    dimension, _, bin_name = text.partition("=")
    if dimension not in IMAGE_BINS:
        raise SuiteError(
            f"slice {text!r}: dimension {dimension!r} is unknown.{nearest(dimension, IMAGE_BINS)}",
            f"Write <dimension>=<bin>; dimensions: {', '.join(IMAGE_BINS)}.",
        )
    bins = IMAGE_BINS[dimension]
    if bins is not None and bin_name not in bins:  # some bins follow from the images
        raise SuiteError(
            f"slice {text!r}: bin {bin_name!r} is unknown.{nearest(bin_name, bins)}",
            f"Bins of {dimension}: {', '.join(bins)}.",
        )


def _check_published(experiment: Experiment, papers: PaperNumbers) -> None:
    entry = papers.entry_of(experiment)
    if entry is None:
        _refuse_published(experiment, papers)
        return
    for index, row in enumerate(experiment.rows):
        if row.published is None:
            continue
        place = ("rows", index, "published")
        if "category" in entry.row_keys:
            _located(experiment, place, _check_column, entry, str(next(iter(row.published.values()), "")))
        else:
            _located(experiment, place, papers.row, entry.id, row.published)
    for index, column in enumerate(experiment.columns):
        if column.published is not None and "category" not in entry.row_keys:
            _located(experiment, ("columns", index, "published"), _check_column, entry, column.published)


def _refuse_published(experiment: Experiment, papers: PaperNumbers) -> None:
    """Refuse a field or row that names published numbers if there is no such entry."""
    name = experiment.published or experiment.id
    hint = nearest(name, papers.entries)
    if experiment.published is not None:
        raise SuiteError(
            f"{experiment.at('published')}: no published entry {name!r}.{hint}",
            "Correct the id, or leave the field out.",
        )
    for index, row in enumerate(experiment.rows):
        if row.published is not None:
            where = experiment.at("rows", index, "published")
            raise SuiteError(
                f"{where}: there is no published entry {name!r}.{hint}",
                "Name the entry in the field 'published' of the file, or leave out the rows' own.",
            )


def _check_column(entry: Entry, column: str) -> None:
    if column not in entry.columns:
        raise SuiteError(
            f"published {entry.id} has no column {column!r}.{nearest(column, entry.columns)}",
            f"Columns: {', '.join(entry.columns)}.",
        )
