"""What cannot be drawn is refused before anything is trained, with file, line and field."""

from pathlib import Path
from typing import Any

import pytest

from suite.errors import SuiteError
from suite.experiments.schema import load_experiments
from suite.reporting.check import check_experiments
from suite.reporting.paper_numbers import paper_numbers

BASE = {"label": "RetinaNet", "method": "retinanet"}
LTM = {"label": "LTM", "method": "ltm"}
PAA = {"label": "PAA", "method": "paa"}
GROUPS = {"square": ["clock"], "slender": ["tie", "skis"]}
CLAIM = {"text": "x", "kind": "gain_rises", "row": "LTM"}


def check(path: Path) -> None:
    check_experiments(load_experiments(path.parent.parent), "mini", paper_numbers())


def figure(kind: str, **fields: Any) -> dict[str, Any]:
    drawn = {"kind": kind, "x_label": "x", "y_label": "y", "categories": fields.pop("categories", {})}
    return {"kind": "figure", "columns": [], "figure": drawn, **fields}


def picture(kind: str, *rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    fields = {"columns": [], "baseline": None, "rows": list(rows), **fields}
    return {"kind": "figure", "picture": {"kind": kind, "settings": fields.pop("settings", {})}, **fields}


def ltm_rows(count: int) -> list[dict[str, Any]]:
    return [{"label": f"K {k}", "method": "ltm", "options": {"K": k}} for k in range(20, 20 + count)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            figure("bars", categories={**GROUPS, "slim": ["tie"]}),
            r"field figure\.categories\.slim: group 'slim' is unknown\.",
        ),
        (
            figure("bars", categories={"square": ["clock"]}),
            r"field figure\.categories: group 'slender' names no category",
        ),
        (
            figure("bars", categories={"square": ["clock"], "slender": []}),
            r"field figure\.categories: group 'slender' names no category",
        ),
        (
            figure("bars", categories={"square": ["clock"], "slender": ["clock"]}),
            r"field figure\.categories\.slender: category 'clock' stands twice",
        ),
        (
            figure("bars", columns=[{"label": "AP", "metric": "AP"}]),
            r"field columns: a figure of kind 'bars' draws categories",
        ),
        (
            figure("scatter", columns=[{"label": "AP", "metric": "AP"}]),
            r"field columns: a figure of kind 'scatter' draws categories",
        ),
        (
            figure("scatter", categories=GROUPS),
            r"field figure\.categories: a figure of kind 'scatter' has no groups",
        ),
        (figure("lines"), r"field figure\.kind: a figure of kind 'lines' draws one point for each column"),
        (
            figure("gain_bars", rows=[BASE]),
            r"field rows: a figure of kind 'gain_bars' .*; expected 1 to 6 such rows, found 0",
        ),
        (
            figure("scatter", rows=[BASE]),
            r"field rows: a figure of kind 'scatter' .*; expected 1 to 6 such rows, found 0",
        ),
        (
            figure("gain_bars", rows=[BASE, *ltm_rows(7)], factor=["method", "K"]),
            r"field rows: .* expected 1 to 6 such rows, found 7",
        ),
        (
            figure("scatter", rows=[BASE, *ltm_rows(7)], factor=["method", "K"]),
            r"field rows: .* expected 1 to 6 such rows, found 7",
        ),
        (
            figure("bars", categories=GROUPS, published="ltm.table1"),
            r"field published: published entry 'ltm\.table1' has rows of .*; a figure of kind 'bars' needs",
        ),
        (
            figure("bars", categories=GROUPS, published="freeanchor.fig5"),
            r"field rows\.0: row 'RetinaNet' has no 'published'",
        ),
        (
            figure("bars", categories=GROUPS, published="freeanchor.fig5", rows=[{**BASE, "published": {}}]),
            r"field rows\.0\.published: published freeanchor\.fig5 has no column ''",
        ),
        (
            figure("bars", categories=GROUPS, claims=[{**CLAIM, "last": "mean of slim"}]),
            r"field claims\.0\.last: 'mean of slim' is no column's label\. Did you mean 'mean of slender'",
        ),
        (
            {"claims": [{**CLAIM, "kind": "slope"}]},
            r"field claims\.0\.kind: 'slope' is that of the line in a figure of kind 'scatter'",
        ),
        ({"claims": [CLAIM]}, r"field claims\.0: the gain cannot rise from column 'AP' to itself"),
        (
            {
                "columns": [{"label": "points", "metric": "option:points"}],
                "rows": [{"label": "AF", "method": "ltm_af"}], "baseline": "AF",
            },
            r"field columns\.0\.metric: .*: in row 'AF' the option is 'released', which is no number",
        ),
        (picture("detections", claims=[CLAIM]), r"field claims: a picture measures nothing"),
        (picture("mean_max_surface", LTM), r"field rows: .* drawn from a formula; its rows would be trained"),
        (picture("detections"), r"field rows: .* shows runs; expected at least one row with a method"),
        (
            picture("positives_over_time", {"label": "x", "method": "cascade_rcnn"}),
            r"field rows\.0: method 'cascade_rcnn' has no dense head .*'positives_over_time' cannot show it",
        ),
        (
            picture("bag_evolution", LTM, {"label": "AF", "method": "ltm_af"}),
            r"field rows\.1: method 'ltm_af' has no anchors",
        ),
        (picture("mixture", LTM), r"field rows\.0: method 'ltm' has no option 'separation': it fits no mixt"),
        (
            picture("mixture", {**PAA, "options": {"separation": "fixed_number"}}),
            r"field rows\.0: method 'paa' with separation 'fixed_number' fits no mixture",
        ),
        (
            picture("bag_evolution", LTM, settings={"object": 7}),
            r"field picture: picture\.settings\.object: .* at most 3, found 7",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_with_its_place(write_experiment, fields, message) -> None:
    path = write_experiment("mine.item", **{"rows": [BASE, LTM], **fields})
    with pytest.raises(SuiteError, match=message) as caught:
        check(path)
    assert caught.value.message.startswith(f"{path}:")
    assert caught.value.remedy or "settings" in message


@pytest.mark.parametrize(
    "fields",
    [
        figure("bars", categories=GROUPS, claims=[{**CLAIM, "first": "clock", "last": "mean of slender"}]),
        figure("bars"),
        figure("lines", columns=[{"label": "AP", "metric": "AP"}, {"label": "NR", "metric": "NR"}]),
        figure("scatter", claims=[{**CLAIM, "kind": "slope"}]),
        figure("gain_bars", rows=[BASE, *ltm_rows(6)], factor=["method", "K"]),
        figure("gain_bars", categories=GROUPS),
        picture("mixture", {**PAA, "options": {"separation": "b"}}),
        picture("assignment_evolution", {"label": "AF", "method": "ltm_af"}),
        picture("detections", {"label": "x", "method": "cascade_rcnn"}),
        picture("mean_max_surface"),
    ],
)
def test_what_can_be_drawn_is_not_refused(write_experiment, fields) -> None:
    check(write_experiment("mine.item", **{"rows": [BASE, LTM], **fields}))
