"""What an experiment file may name; every mistake has its file, line and remedy."""

import pytest

from suite.errors import SuiteError
from suite.experiments.schema import load_experiments, select
from suite.reporting.check import check_experiments
from suite.reporting.paper_numbers import paper_numbers

RETINANET = {"label": "RetinaNet", "method": "retinanet"}


def check(path, preset: str = "mini") -> None:
    check_experiments(load_experiments(path.parent.parent), preset, paper_numbers())


def figure(**fields) -> dict:
    return {"kind": "figure", "columns": [], "rows": [], "baseline": None, **fields}


@pytest.mark.parametrize("preset", ["smoke", "mini", "coco-1gpu", "paper"])
def test_the_projects_own_files_name_what_exists(project, preset) -> None:
    check_experiments(load_experiments(project / "experiments"), preset, paper_numbers())


def test_every_item_of_the_three_papers_that_can_be_regenerated_has_a_file(project) -> None:
    known = {one.published or one.id for one in load_experiments(project / "experiments")}
    wanted = {
        identifier
        for identifier, entry in paper_numbers().entries.items()
        if identifier.partition(".")[0] in ("freeanchor", "ltm", "paa")
        and entry.regenerable not in ("no", "drawing only")
    }
    assert wanted <= known
    assert len(wanted) == 36


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"rows": [RETINANET, {"label": "x", "method": "ltmm"}]},
            r"field rows\.1: method 'ltmm' is unknown\. Did",
        ),
        (
            {"rows": [RETINANET, {"label": "x", "method": "ltm", "options": {"KK": 3}}]},
            r"field rows\.1: method 'ltm' has no option 'KK'\. Did you mean 'K'",
        ),
        (
            {"rows": [RETINANET, {"label": "x", "method": "ltm", "options": {"backbone": "r102"}}]},
            r"field rows\.1: .*r101.*'r102'\. Did you mean 'r101'",
        ),
        (
            {"columns": [{"label": "a", "metric": "APP"}]},
            r"field columns\.0\.metric: metric 'APP' is unknown\. Did",
        ),
        (
            {"columns": [{"label": "a", "metric": "option:n"}], "rows": [RETINANET]},
            r"field columns\.0\.metric: metric 'option:n': method 'retinanet' has no option 'n'",
        ),
        (
            {"columns": [{"label": "a", "metric": "AP", "slice": "crowding=dense"}]},
            r"field columns\.0\.slice: .*'crowding' is unknown",
        ),
        (
            {"columns": [{"label": "a", "metric": "AP", "slice": "crowdedness=densest"}]},
            r"field columns\.0\.slice: .*bin 'densest' is unknown\. Did you mean 'dense'",
        ),
        (
            {"published": "ltm.tabel1"},
            r"field published: no published entry 'ltm\.tabel1'\. Did you mean 'ltm\.table",
        ),
        (
            {"rows": [{**RETINANET, "published": {"detector": "RetinaNett"}}]},
            r"field rows\.0\.published: published ltm\.table1: .*'RetinaNett'.* fits 0 rows",
        ),
        (
            {"rows": [{**RETINANET, "published": {"detectr": "RetinaNet"}}]},
            r"field rows\.0\.published: published ltm\.table1: row key 'detectr' is unknown",
        ),
        (
            {"columns": [{"label": "a", "metric": "AP", "published": "APX"}]},
            r"field columns\.0\.published: published ltm\.table1 has no column 'APX'\. Did you mean 'AP",
        ),
        (
            {"claims": [{"text": "x", "kind": "gain", "row": "LTMM"}]},
            r"field claims\.0\.row: 'LTMM' is no row with a method\. Did you mean 'LTM'",
        ),
        (
            {"claims": [{"text": "x", "kind": "gain", "row": "LTM", "over": "nonsense"}]},
            r"field claims\.0\.over: 'nonsense' is no row with a method\.",
        ),
        (
            {"claims": [{"text": "x", "kind": "gain", "row": "RetinaNet"}]},
            r"field claims\.0\.row: 'RetinaNet' is compared with itself: it is the item's baseline\.",
        ),
        (
            {"claims": [{"text": "x", "kind": "gain", "row": "LTM", "over": "LTM"}]},
            r"field claims\.0\.row: 'LTM' is compared with itself\.",
        ),
        (
            {"claims": [{"text": "x", "kind": "trend"}]},
            r"field claims\.0: a trend needs three rows with a method and 'published'; found 0",
        ),
        (
            {"claims": [{"text": "x", "kind": "gain", "row": "LTM", "column": "APP"}]},
            r"field claims\.0\.column: 'APP' is no column's label\. Did you mean 'AP'",
        ),
        (
            {
                "claims": [{"text": "x", "kind": "gain", "row": "LTM"}],
                "columns": [{"label": "hours", "metric": "train_hours"}],
            },
            r"field claims\.0: the metric of column 'hours', 'train_hours', cannot be computed on other",
        ),
        (
            {
                "rows": [
                    {**RETINANET, "published": {"detector": "RetinaNet (baseline)"}},
                    {"label": "LTM", "method": "ltm", "published": {"detector": "LTM"}},
                ],
                "columns": [{"label": "AP", "metric": "AP", "published": "AP"}],
                "claims": [{"text": "x", "kind": "gain", "row": "LTM", "expected": "no difference"}],
            },
            r"field claims\.0\.expected: 'no difference', and the published numbers give \+3\.5",
        ),
        (
            {
                "rows": [
                    {**RETINANET, "published": {"detector": "RetinaNet (baseline)"}},
                    {"label": "LTM", "method": "ltm", "published": {"detector": "LTM"}},
                    {"label": "M+", "method": "ltm_positive", "published": {"detector": "LTM (M+)"}},
                ],
                "claims": [{"text": "x", "kind": "trend"}],
            },
            r"field claims\.0: no two rows of column 'AP' have different published numbers",
        ),
        (figure(picture={"kind": "mixtures"}), r"field picture: .*'mixtures'.*Did you mean 'mixture'"),
        (
            figure(picture={"kind": "detections", "settings": {"score": 0.7}}),
            r"field picture: .*settings\.score: unknown",
        ),
        (
            {"rows": [RETINANET, {"label": "x", "method": "ltm", "options": {"K": 0}}]},
            r"field rows\.1: option 'K'.*0",
        ),
    ],
)
def test_a_wrong_name_is_told_with_its_place(write_experiment, fields, message) -> None:
    path = write_experiment("ltm.table1", **fields)
    with pytest.raises(SuiteError, match=message) as caught:
        check(path)
    assert str(caught.value.message).startswith(f"{path}:")


def test_rows_of_an_item_without_a_published_entry_cannot_name_published_rows(write_experiment) -> None:
    path = write_experiment("mine.table", rows=[{**RETINANET, "published": {"detector": "RetinaNet"}}])
    with pytest.raises(
        SuiteError, match=r"field rows\.0\.published: there is no published entry 'mine\.table'"
    ):
        check(path)
    check(write_experiment("mine.table", rows=[RETINANET]))


def test_a_mistake_in_a_file_that_is_not_asked_for_stops_nothing(write_experiment) -> None:
    write_experiment("ltm.table2", columns=[{"label": "a", "metric": "APP"}])
    experiments = load_experiments(write_experiment("ltm.table1").parent.parent)
    check_experiments(select(experiments, "ltm.table1"), "mini", paper_numbers())
