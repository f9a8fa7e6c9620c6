"""The table of methods: whose numbers they are, and what becomes of damaged runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.measurements import Measurements
from suite.reporting.inputs import MethodInput
from suite.reporting.methods import measure_methods, validations
from suite.runs.directory import RunDirectory


@pytest.fixture
def given(make_report):
    report = make_report(seeds=(0, 1), ids=("ltm.table2",))
    return list(report.methods), Measurements(GroundTruth.load(report.dataset.val.annotations))


def test_numbers_are_those_of_the_runs_and_the_best_comes_first(given) -> None:
    methods, measurements = given
    table = measure_methods(methods, measurements)
    assert [method.label for method in table.methods] == ["LTM", "RetinaNet"]
    ltm = table.methods[0]
    run = ltm.runs[1]
    columns = {(column.group.split(" ")[2:3] or [""])[0] + column.label: column for column in table.columns}
    assert list(columns) == [
        "AP", "sizesmall", "sizemedium", "sizelarge", "crowdednesssparse", "crowdednessmedium",
        "crowdednessdense", "shapesquare", "shapeslender", "training of a run", "inference of an image",
    ]  # fmt: skip
    value = measurements.value
    assert ltm.numbers[columns["AP"]] == {seed: value(ltm.runs[seed], "AP") for seed in (0, 1)}
    assert ltm.numbers[columns["sizelarge"]][1] == value(run, "APL")
    assert ltm.numbers[columns["crowdednessdense"]][1] == value(run, "AP", "crowdedness=dense")
    of_category = measurements.category_ap(run)
    square = columns["shapesquare"].categories
    assert ltm.numbers[columns["shapesquare"]][1] == pytest.approx(
        sum(of_category[name] for name in square) / len(square)
    )
    assert ltm.numbers[columns["training of a run"]] == pytest.approx({0: 150, 1: 160})
    assert ltm.numbers[columns["inference of an image"]] == pytest.approx({0: 1000 / 20, 1: 1000 / 21})
    assert columns["sizelarge"].objects == measurements.rests_on(run, "APL")["objects"]
    dense = measurements.rests_on(run, "AP", "crowdedness=dense")
    assert (columns["crowdednessdense"].images, columns["crowdednessdense"].objects) == (
        dense["images"], dense["objects"],
    )  # fmt: skip


def test_a_damaged_run_is_left_out_and_named(given, tmp_path: Path) -> None:
    methods, measurements = given
    ltm = next(one for one in methods if one.label == "LTM")
    copy = RunDirectory(tmp_path / "run")
    shutil.copytree(ltm.runs[1].directory.path, copy.path)
    copy.detections_file.write_bytes(b"PAR1 cut short")
    damaged = MethodInput("LTM", [ltm.runs[0], replace(ltm.runs[1], directory=copy)])
    lost = MethodInput("PAA", [replace(ltm.runs[1], directory=None)])
    table = measure_methods([damaged, lost], measurements)
    assert [(method.label, set(method.runs)) for method in table.methods] == [("LTM", {0})]
    assert any("LTM, seed 1, cannot be measured:" in note and "cannot read" in note for note in table.notes)


def test_a_damaged_log_costs_the_curve_alone(given, tmp_path: Path) -> None:
    methods, measurements = given
    ltm = next(one for one in methods if one.label == "LTM")
    copy = RunDirectory(tmp_path / "run")
    shutil.copytree(ltm.runs[0].directory.path, copy.path)
    copy.metrics_file.write_text('{"step": 100, "val_AP": "high"}\n')
    table = measure_methods([MethodInput("LTM", [replace(ltm.runs[0], directory=copy)])], measurements)
    assert table.methods[0].numbers[table.columns[0]]
    assert table.methods[0].validations == {}
    assert any("LTM, seed 0, has no curve:" in note for note in table.notes)


def test_an_epoch_done_again_is_validated_once(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    lines = [{"step": 10, "val_AP": 0.1}, {"step": 20, "val_AP": 0.2}, {"step": 20, "loss": 1.0},
             {"step": 20, "val_AP": 0.3}]  # fmt: skip
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert validations(run) == {10: pytest.approx(10), 20: pytest.approx(30)}
    assert validations(RunDirectory(tmp_path / "none")) == {}
