"""Cells of tables and figures from runs."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.measurements import Measurements
from suite.experiments.schema import Column, Experiment
from suite.files import read_json, write_json
from suite.reporting.inputs import ExperimentInput, ReportInput, RunInput
from suite.reporting.items import RELATIVE_UNIT, Item, build
from suite.reporting.measuring import MARGIN, with_claims
from suite.reporting.paper_numbers import paper_numbers
from suite.reporting.remarks import audit_remarks
from suite.reporting.table_layout import layout
from suite.runs.directory import RunDirectory


def built(report: ReportInput, comparable: bool = False) -> Item:
    measurements = Measurements(GroundTruth.load(report.dataset.val.annotations))
    item = build(report.experiments[0], measurements, paper_numbers(), comparable)
    (item,) = with_claims([item], report.experiments[:1], measurements, MARGIN)
    return item


def cell(item: Item, row: str, column: str):
    return next(one for one in item.cells if (one.row, one.column) == (row, column))


def test_table_with_derived_row(make_report) -> None:
    item = built(make_report(ids=("ltm.table2",)))
    base, ltm = cell(item, "RetinaNet (baseline)", "dense"), cell(item, "LTM", "dense")
    assert (base.published, ltm.published, ltm.published_difference) == (29.0, 32.7, pytest.approx(3.7))
    assert base.difference is None
    assert ltm.difference.mean == pytest.approx(ltm.value - base.value)
    assert ltm.summary.n == 3
    assert ltm.run_ids == tuple(f"ltm-s{seed}-0123456789ab" for seed in range(3))
    relative = cell(item, "relative improvement (%)", "dense")
    assert relative.unit == RELATIVE_UNIT
    assert relative.value == pytest.approx(
        np.mean([100 * (ltm.by_seed[seed] / base.by_seed[seed] - 1) for seed in range(3)])
    )
    assert relative.published == 12.8
    assert relative.difference is None
    assert (ltm.verdict, relative.verdict) == ("", "")


def test_verdicts_only_where_levels_are_comparable(make_report) -> None:
    report = make_report(ids=("freeanchor.table2",))
    item = built(report, comparable=True)
    # The fake runs are far from 38.7, the repository's AP on val2017.
    assert cell(item, "FreeAnchor, ResNet-50", "AP").verdict == "differs"
    assert cell(item, "FreeAnchor, ResNet-50", "training time (h)").verdict == ""
    assert all(one.verdict == "" for one in built(report).cells)


AUTHORS_VAL = {"AP": 38.4, "AP50": 57.6, "AP75": 41.2, "APS": 20.5, "APM": 41.9, "APL": 50.7}
AUTHORS_TEST_DEV = {"AP": 39.2, "AP50": 57.9, "AP75": 42.1, "APS": 21.5, "APM": 41.6, "APL": 49.3}


def of_ltm(
    make_report, monkeypatch, values: dict[str, float], seeds: tuple[int, ...] = (0, 1, 2)
) -> ReportInput:
    """A report on ltm.table1 whose LTM runs have these numbers on val2017, each seed within 0.02 of them."""
    report = make_report(seeds=seeds, ids=("ltm.table1",))
    real = Measurements.value

    def value(self, run, name, selection=None):
        if run.run_id.startswith("ltm-s") and name in values:
            return values[name] + 0.02 * (int(run.run_id[5]) - 1)
        return real(self, run, name, selection)

    monkeypatch.setattr(Measurements, "value", value)
    return report


def answered(run: RunDirectory, values: dict[str, float]) -> None:
    """The evaluation server's numbers, in percent, in a run's directory."""
    detections = read_json(run.result_file)["files"]["detections.parquet"]["sha256"]
    content = {
        "metrics": {name: value / 100 for name, value in values.items()}, "server": "the server",
        "date": "2026-01-02", "file": "stdout.txt", "sha256": "ab" * 32, "evaluated": detections,
    }  # fmt: skip
    write_json(run.path / "test_dev.json", content)


def with_own_runs(report: ReportInput, label: str, folder: Path) -> ReportInput:
    """The report with copies of a row's runs, which a test may change."""
    (given,) = report.experiments
    runs = []
    for run in given.runs[label]:
        shutil.copytree(run.directory.path, folder / run.run_id)
        runs.append(replace(run, directory=RunDirectory(folder / run.run_id)))
    return replace(report, experiments=[replace(given, runs={**given.runs, label: runs})])


def test_an_exact_copy_of_the_authors_model_is_reproduced(make_report, monkeypatch) -> None:
    item = built(of_ltm(make_report, monkeypatch, AUTHORS_VAL), comparable=True)
    for name, value in AUTHORS_VAL.items():
        found = cell(item, "LTM", name)
        assert (found.published, found.published_split) == (AUTHORS_TEST_DEV[name], "test-dev2017")
        compared = found.comparison
        assert (compared.split, compared.published, compared.verdict) == ("val2017", value, "reproduced")
    assert cell(item, "LTM", "AP").comparison.source == "Table 5a (ltm.table5a)"
    assert cell(item, "LTM", "APS").comparison.source == "Table 3 (ltm.table3)"


def test_our_val2017_numbers_are_never_judged_by_test_dev(make_report, monkeypatch) -> None:
    """The same levels as the paper's on test-dev, measured on val2017, are 0.8 AP too high."""
    item = built(of_ltm(make_report, monkeypatch, AUTHORS_TEST_DEV), comparable=True)
    assert cell(item, "LTM", "AP").verdict == "differs"
    k_anchors = cell(item, "RetinaNet (K anchors)", "AP")
    assert (k_anchors.published, k_anchors.comparison, k_anchors.verdict) == (35.7, None, "")
    assert k_anchors.not_compared == "published on test-dev2017; ours on val2017: not compared"


def test_an_imported_result_is_judged_by_the_papers_test_dev(
    make_report, monkeypatch, tmp_path: Path
) -> None:
    report = with_own_runs(of_ltm(make_report, monkeypatch, AUTHORS_VAL), "LTM", tmp_path)
    directories = [run.directory for run in report.experiments[0].runs["LTM"]]
    answered(directories[0], AUTHORS_TEST_DEV)
    one = cell(built(report, comparable=True), "LTM", "AP")
    assert (one.verdict, one.comparison.split) == ("one seed", "test-dev2017")
    for index, directory in enumerate(directories):
        answered(directory, {name: value + 0.02 * index for name, value in AUTHORS_TEST_DEV.items()})
    item = built(report, comparable=True)
    for name, value in AUTHORS_TEST_DEV.items():
        compared = cell(item, "LTM", name).comparison
        assert (compared.split, compared.published, compared.verdict) == ("test-dev2017", value, "reproduced")
        assert compared.ours.mean == pytest.approx(value + 0.02)
    assert cell(item, "LTM", "AP").value == pytest.approx(38.4)
    lines = {(line.cells[0], line.cells[1]): line.cells[2] for line in layout(item).lines}
    assert any(text.startswith("39.2 ± 0.0 [") for text in lines.values())
    write_json(directories[1].path / "test_dev.json", {"metrics": {}})
    damaged = cell(built(report, comparable=True), "LTM", "AP")
    assert damaged.test_dev.n == 2
    assert "test_dev.json: damaged" in damaged.test_dev_source


def test_one_seed_is_never_judged(make_report, monkeypatch) -> None:
    item = built(of_ltm(make_report, monkeypatch, AUTHORS_VAL, seeds=(0,)), comparable=True)
    assert {cell(item, "LTM", name).verdict for name in AUTHORS_VAL} == {"one seed"}
    assert item.verdict.word == "one seed"
    assert [claim.outcome for claim in item.claims] == ["one seed"] * 3
    assert built(make_report(seeds=(0,), ids=("ltm.table1",))).verdict.word == "one seed"


def test_the_table_names_the_split_of_each_number(make_report, monkeypatch) -> None:
    table = layout(built(of_ltm(make_report, monkeypatch, AUTHORS_VAL), comparable=True))
    start = next(index for index, line in enumerate(table.lines) if line.cells[0] == "LTM")
    ours, paper, published = table.lines[start : start + 3]
    assert ours.cells[1:3] == ["ours, 3 seeds", "38.4 ± 0.0"]
    assert paper.cells[1:3] == ["paper, test-dev2017", "39.2"]
    assert published.kind == "published"
    assert published.cells[1] == "published, val2017"
    assert published.cells[2].startswith("38.4 (reproduced) [")
    mark = table.mark("published on test-dev2017; ours on val2017: not compared")
    start = next(index for index, line in enumerate(table.lines) if line.cells[0] == "RetinaNet (K anchors)")
    assert table.lines[start + 1].cells[2] == f"35.7 {mark}"


def test_slices_and_categories_have_no_level_verdict(make_report) -> None:
    for identifier in ("ltm.table2", "freeanchor.fig5", "ltm.table4"):
        item = built(make_report(ids=(identifier,)), comparable=True)
        assert all(one.comparison is None for one in item.cells)
        assert "claim" in item.verdict.because


def test_a_missing_seed_empties_the_row_and_says_why(make_report) -> None:
    missing = {
        ("atss", 1): ("failed", "loss became NaN"),
        **{("paa", seed): ("new", "no run directory") for seed in range(3)},
    }
    item = built(make_report(ids=("paa.table2_left",), missing=missing))
    atss = cell(item, "ATSS", "AP")
    assert (atss.value, atss.difference, atss.run_ids) == (None, None, ())
    assert atss.reason == "failed: 2 of 3 seeds done; seed 1 failed (loss became NaN)"
    assert atss.published == 39.4
    assert cell(item, "PAA", "AP").reason == "not run"
    assert cell(item, "MAL", "AP").reason.startswith("published only")
    assert cell(item, "MAL", "AP").command == ""
    assert cell(item, "RetinaNet", "AP").value is not None


def test_a_stale_baseline_empties_the_derived_row(make_report) -> None:
    missing = {("retinanet", 0): ("stale", "retina_head.py changed")}
    item = built(make_report(seeds=(0,), ids=("ltm.table2",), missing=missing))
    assert cell(item, "relative improvement (%)", "sparse").reason == (
        "stale: 0 of 1 seeds done; seed 0 stale (retina_head.py changed)"
    )
    assert cell(item, "LTM", "sparse").value is not None
    assert cell(item, "LTM", "sparse").difference is None


def test_a_damaged_run_empties_its_row_only(make_report, tmp_path) -> None:
    report = make_report(seeds=(0,), ids=("ltm.table4",))
    given = report.experiments[0]
    broken = {**given.runs, "LTM": [RunInput(0, "ltm-x", "done", RunDirectory(tmp_path / "gone"))]}
    item = built(ReportInput("mini", report.dataset, [ExperimentInput(given.experiment, broken, "x")]))
    assert "coverage.parquet: cannot read" in cell(item, "LTM", "NR").reason
    assert cell(item, "RetinaNet", "NR").value is not None


def test_square_and_slender_categories_by_the_statistic(make_report) -> None:
    item = built(make_report(ids=("freeanchor.fig5",)))
    groups = [(column.label, column.group) for column in item.columns]
    assert [name for name, group in groups if group == "square"] == [
        "disc",
        "square",
        "triangle",
        "mean of square",
    ]
    assert [name for name, _ in groups[4:]] == ["hook", "arrow", "plank", "rod", "mean of slender"]
    assert "lacks the paper's categories" in item.notes[0]
    mean = cell(item, "FreeAnchor", "mean of slender")
    parts = [cell(item, "FreeAnchor", name).by_seed[1] for name in ("hook", "arrow", "plank", "rod")]
    assert mean.by_seed[1] == pytest.approx(np.mean(parts))
    assert mean.published == pytest.approx((14.2 + 19.6 + 41.4 + 33.0) / 4)
    assert mean.published_difference == pytest.approx(17.3 / 4)
    assert cell(item, "FreeAnchor", "rod").published_reason == "the paper has no such category"


def test_fit_is_the_least_squares_line_over_categories(make_report) -> None:
    item = built(make_report(ids=("ltm.fig7",)))
    fit = item.fits[0]
    assert [one.row for one in item.fits] == ["LTM", "LTM-AF"]
    x = np.array([column.aspect_ratio for column in item.columns])
    y = np.array([cell(item, "LTM", column.label).difference.mean for column in item.columns])
    assert fit.n == 12
    assert fit.slope == pytest.approx(((x - x.mean()) @ (y - y.mean())) / ((x - x.mean()) @ (x - x.mean())))
    assert fit.pearson == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert fit.slope_over_seeds.mean == pytest.approx(fit.slope)
    assert list(x) == sorted(x)


def test_counts_stand_with_every_number(make_report) -> None:
    item = built(make_report(seeds=(0,), ids=("freeanchor.fig6",)))
    row = item.row("FreeAnchor")
    assert sum(one.rests_on["images"] for one in row) == 70
    assert all(one.rests_on["categories"] <= 12 for one in row)


def test_mistakes_in_the_file_are_found_without_any_run(
    make_report, shipped_experiments: list[Experiment]
) -> None:
    report = make_report(seeds=(), ids=("ltm.table2",))
    wrong = report.experiments[0].experiment
    for change, message in (
        ({"columns": [Column(label="AP", metric="AP55")]}, "metric 'AP55' is unknown"),
        ({"columns": [Column(label="AP", metric="AP", slice="crowdedness=denser")]}, "no bin 'denser'"),
        ({"columns": [Column(label="AP", metric="AP", published="spars")]}, "no column 'spars'"),
    ):
        given = ExperimentInput(wrong.model_copy(update=change), {}, "x")
        with pytest.raises(SuiteError, match=message):
            built(ReportInput("mini", report.dataset, [given]))


def test_a_cell_says_that_the_training_log_was_lost(make_report, tmp_path: Path) -> None:
    report = make_report(seeds=(0, 1), ids=("ltm.table2",))
    given = report.experiments[0]
    columns = [Column(label="speed", metric="step_seconds"), Column(label="AP", metric="AP")]
    lost = RunDirectory(tmp_path / "run")
    shutil.copytree(given.runs["LTM"][1].directory.path, lost.path)
    figures = {"train_seconds": None, "step_seconds": None}
    write_json(lost.result_file, {**read_json(lost.result_file), **figures})
    runs = {**given.runs, "LTM": [given.runs["LTM"][0], RunInput(1, "ltm-s1", "done", lost)]}
    experiment = given.experiment.model_copy(update={"columns": columns, "claims": []})
    item = built(replace(report, experiments=[replace(given, experiment=experiment, runs=runs)]))
    assert cell(item, "LTM", "speed").reason == "not measurable: seed 1 lost the log of its training"
    assert cell(item, "RetinaNet (baseline)", "speed").value == 0.25
    assert cell(item, "LTM", "AP").summary.n == 2


def test_a_tuned_row_says_so_in_each_cell(make_report) -> None:
    report = make_report(ids=("ltm.table2",))
    note = (
        "tuned in 30 trials of study ltm_tpe at preset mini ON THE REPORTED SPLIT: its numbers are too good"
    )
    item = built(replace(report, experiments=[replace(report.experiments[0], tuned={"LTM": note})]))
    assert {one.tuned for one in item.row("LTM")} == {note}
    assert {one.tuned for one in item.row("RetinaNet (baseline)")} == {""}
    table = layout(item)
    (ours,) = [line for line in table.lines if line.cells[0] == "LTM"]
    mark = f"[{table.footnotes.index(note) + 1}]"
    assert all(text.endswith(mark) for text in ours.cells[2:])


def test_the_audit_speaks_where_two_rows_were_measured(make_report) -> None:
    report = make_report(ids=("ltm.table2",))
    (text,) = audit_remarks(built(report))
    assert text == "Fairness: the rows' configs differ in the declared factor (method) alone."
    given = replace(report.experiments[0], audit=["LTM: learning rate: 0.005 (baseline 0.01)"])
    texts = audit_remarks(built(replace(report, experiments=[given])))
    assert texts[0].startswith("Fairness: besides the declared factor (method), rows differ from RetinaNet")
    assert texts[1:] == ["LTM: learning rate: 0.005 (baseline 0.01)."]
    alone = make_report(ids=("ltm.table2",), missing={("ltm", 0): ("new", "")})
    assert audit_remarks(built(alone)) == []
