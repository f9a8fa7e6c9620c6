"""What an experiment file may name: methods, options, metrics, slices, published rows and columns, pictures.

All of it is checked before a run starts. The error for a mistake names file, line, field and remedy.
"""

from collections.abc import Sequence
from typing import Any

from suite.errors import SuiteError, nearest
from suite.evaluation.bins import IMAGE_BINS
from suite.evaluation.metrics import OPTION, metric
from suite.experiments.fairness import check_factor
from suite.experiments.schema import Experiment
from suite.reporting.check_figures import check_figure, check_picture, column_labels
from suite.reporting.paper_numbers import Entry, PaperNumbers
from suite.runs.configs import load, method_info
from suite.runs.options import check_options


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
        _check_claims(experiment)


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


def _check_claims(experiment: Experiment) -> None:
    """Check that each claim names columns that there are, and can be measured by them."""
    labels = column_labels(experiment)
    figure = experiment.figure
    for index, claim in enumerate(experiment.claims):
        for field in ("first", "last"):
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
                "Claim 'gain' or 'gain_rises', or draw a scatter figure.",
            )
        first, last = claim.first or next(iter(labels), None), claim.last or next(reversed(labels), None)
        if claim.kind == "gain_rises" and first is not None and first == last:
            raise SuiteError(
                f"{experiment.at('claims', index)}: the gain cannot rise from column {first!r} to itself.",
                "Name two columns: the field 'first' is the first column by default, 'last' the last one.",
            )


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
