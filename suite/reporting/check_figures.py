"""What a figure or picture needs of its experiment's file, so that it can be drawn once its runs are done.

A figure that cannot be drawn would otherwise be found out after hours of training.
"""

from suite.errors import SuiteError, nearest
from suite.experiments.schema import Experiment, Figure, Picture, Row
from suite.reporting.figure_parts import GROUPS, PANEL_LETTERS
from suite.reporting.paper_numbers import Entry
from suite.reporting.pictures import kinds
from suite.runs.configs import load, method_info

_PANEL_PER_ROW = ("scatter", "gain_bars")
"""Kinds of figures with one panel for each row beside the baseline."""
_WITHOUT_MIXTURE = ("fixed_number", "fixed_score")
"""Separations of PAA that fit no mixture."""


def check_figure(experiment: Experiment, figure: Figure, entry: Entry | None) -> None:
    """Check that a figure of measured numbers can be drawn.

    Args:
        experiment: The figure's experiment.
        figure: How it is drawn.
        entry: The published table or figure that it stands beside, or None.

    Raises:
        SuiteError: Its columns, categories, rows or published entry are not those that its kind draws.
    """
    _check_axis(experiment, figure)
    if figure.categories:
        _check_categories(experiment, figure)
    if figure.kind in _PANEL_PER_ROW:
        _check_panels(experiment, figure)
    if figure.kind == "bars" and entry is not None and entry.rows:
        _check_paper_bars(experiment, entry)


def _check_axis(experiment: Experiment, figure: Figure) -> None:
    """Check that a figure has columns, or groups of categories, where its kind draws them, and only there."""
    if figure.kind == "lines" and not experiment.columns:
        raise SuiteError(
            f"{experiment.at('figure', 'kind')}: a figure of kind 'lines' draws one point for each column, "
            "and there are no columns.",
            "List the points of its axis under 'columns'.",
        )
    if figure.kind in ("bars", "scatter") and experiment.columns:
        raise SuiteError(
            f"{experiment.at('columns')}: a figure of kind {figure.kind!r} draws categories, not columns.",
            "Leave 'columns' out, or draw them with kind 'lines'.",
        )
    if figure.kind in ("lines", "scatter") and figure.categories:
        raise SuiteError(
            f"{experiment.at('figure', 'categories')}: a figure of kind {figure.kind!r} has no groups of "
            "categories.",
            "Leave 'categories' out, or draw them with kind 'bars'.",
        )


def _check_panels(experiment: Experiment, figure: Figure) -> None:
    """Check that there is a row to compare with the baseline, and a letter for the panel of each."""
    panels = sum(row.method is not None for row in experiment.rows) - 1
    most = len(PANEL_LETTERS)
    if not 1 <= panels <= most:
        raise SuiteError(
            f"{experiment.at('rows')}: a figure of kind {figure.kind!r} has one panel for each row with a "
            f"method beside the baseline; expected 1 to {most} such rows, found {panels}.",
            "Split the figure into several files." if panels else "Add a row to compare with the baseline.",
        )


def _check_categories(experiment: Experiment, figure: Figure) -> None:
    """Check that there are exactly the groups that a dataset is searched for, each category named once."""
    seen: set[str] = set()
    for group, names in figure.categories.items():
        where = experiment.at("figure", "categories", group)
        if group not in GROUPS:
            raise SuiteError(
                f"{where}: group {group!r} is unknown.{nearest(group, GROUPS)}",
                f"Name the groups {' and '.join(GROUPS)}.",
            )
        for name in names:
            if name in seen:
                raise SuiteError(f"{where}: category {name!r} stands twice.", "Name each category once.")
            seen.add(name)
    for group in GROUPS:
        if not figure.categories.get(group):
            raise SuiteError(
                f"{experiment.at('figure', 'categories')}: group {group!r} names no category.",
                f"Name at least one category in each of the groups {' and '.join(GROUPS)}.",
            )


def _check_paper_bars(experiment: Experiment, entry: Entry) -> None:
    """Check that the paper's bars can stand beside ours: one for each category and each row with a method."""
    if not {"category", "group"} <= set(entry.row_keys):
        where = experiment.at("published" if experiment.published else "id")
        raise SuiteError(
            f"{where}: published entry {entry.id!r} has rows of {', '.join(entry.row_keys) or 'no key'}; a "
            "figure of kind 'bars' needs one with rows of category and group.",
            "Name another entry in the field 'published', or draw a figure of kind 'lines'.",
        )
    for index, row in enumerate(experiment.rows):
        if row.method is not None and row.published is None:
            raise SuiteError(
                f"{experiment.at('rows', index)}: row {row.label!r} has no 'published', and the paper's bars "
                "are drawn for every row with a method.",
                f"Name its column of {entry.id}, one of {', '.join(entry.columns)}: published: "
                f"{{detector: {entry.columns[0]}}}.",
            )


def check_picture(experiment: Experiment, picture: Picture) -> None:
    """Check that a picture can be drawn.

    Args:
        experiment: The picture's experiment.
        picture: What is drawn, and how.

    Raises:
        SuiteError: The kind is unknown, a setting is unknown or out of range, or the rows are not those that
            the kind draws.
    """
    kind = picture.kind
    try:
        kinds.check(kind, picture.settings)
    except SuiteError as error:
        raise SuiteError(f"{experiment.at('picture')}: {error.message}", error.remedy) from error
    if experiment.claims:
        raise SuiteError(
            f"{experiment.at('claims')}: a picture measures nothing that a claim could be checked by.",
            "Leave 'claims' out, or make a table or a figure of measured numbers.",
        )
    rows = [(index, row) for index, row in enumerate(experiment.rows) if row.method is not None]
    if kind in kinds.ANALYTIC and rows:
        raise SuiteError(
            f"{experiment.at('rows')}: a picture of kind {kind!r} is drawn from a formula; its rows would be "
            "trained and not shown.",
            "Leave 'rows' out.",
        )
    if kind not in kinds.ANALYTIC and not rows:
        raise SuiteError(
            f"{experiment.at('rows')}: a picture of kind {kind!r} shows runs; expected at least one row with "
            "a method, found none.",
            "Add a row: {label: LTM, method: ltm}.",
        )
    for index, row in rows:
        if lacking := _lacking(kind, row):
            raise SuiteError(
                f"{experiment.at('rows', index)}: method {row.method!r} {lacking}, so a picture of kind "
                f"{kind!r} cannot show it.",
                "Leave the row out, or name another method.",
            )


def _lacking(kind: str, row: Row) -> str:
    """What a row's method lacks for a kind of picture, in words; empty where it lacks nothing."""
    if kind in kinds.ANALYTIC or kind == "detections":
        return ""
    head = load("methods", row.method or "")["model"].get("bbox_head")
    if head is None:
        return "has no dense head whose matching a training could write down"
    if kind == "bag_evolution" and "anchor_generator" not in head:
        return "has no anchors"
    if kind == "mixture":
        if "separation" not in method_info(row.method or "")["options"]:
            return "has no option 'separation': it fits no mixture"
        if row.options.get("separation") in _WITHOUT_MIXTURE:
            return f"with separation {row.options['separation']!r} fits no mixture"
    return ""
