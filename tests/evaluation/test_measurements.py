"""Metrics of finished runs."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from suite.errors import SuiteError
from suite.evaluation.coco_ap import evaluate, evaluate_slices
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.iou_prediction import iou_prediction_error
from suite.evaluation.measurements import Measurements
from suite.evaluation.metrics import METRICS, metric
from suite.evaluation.nms_recall import PROTOCOLS, nms_recall
from suite.evaluation.slices import select_images
from suite.runs.directory import RunDirectory


@pytest.fixture
def measured(make_report) -> tuple[Measurements, RunDirectory]:
    report = make_report(seeds=(0,), ids=("ltm.table2",))
    run = report.experiments[0].runs["LTM"][0].directory
    return Measurements(GroundTruth.load(report.dataset.val.annotations)), run


def test_values_are_those_of_the_files_in_printed_units(measured) -> None:
    measurements, run = measured
    found = pd.read_parquet(run.detections_file)
    assert measurements.value(run, "AP75") == 100 * evaluate(measurements.truth, found).metrics["AP75"]
    dense = select_images(measurements.truth, "crowdedness=dense")
    expected = evaluate(measurements.truth, found, dense)
    assert measurements.value(run, "APS", "crowdedness=dense") == 100 * expected.metrics["APS"]
    assert measurements.rests_on(run, "AP", "crowdedness=dense")["images"] == len(dense)
    coverage = pd.read_parquet(run.coverage_file)
    assert measurements.value(run, "NR80") == 100 * nms_recall(coverage)["NR80"]
    part = coverage[coverage["image_id"].isin(dense)]
    assert (
        measurements.value(run, "recall_before", "crowdedness=dense")
        == 100 * nms_recall(part)["recall_before"]
    )
    assert measurements.rests_on(run, "NR", "crowdedness=dense")["objects"] == len(part)
    assert measurements.value(run, "train_hours") == pytest.approx(150 / 3600)
    assert measurements.value(run, "step_seconds") == 0.25
    assert measurements.rests_on(run, "step_seconds") == {}


def test_recall_as_deployed_and_iou_errors_are_read_from_their_columns(measured, tmp_path: Path) -> None:
    measurements, run = measured
    copy = RunDirectory(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    with pytest.raises(SuiteError, match=r"coverage: no column 'iou_before_deployed'"):
        measurements.value(copy, "NR_deployed")
    with pytest.raises(SuiteError, match=r"detections\.parquet: .*does not predict the IoU"):
        measurements.value(copy, "IoU_error")
    coverage = pd.read_parquet(run.coverage_file)
    coverage["iou_before_deployed"] = coverage["iou_before"]
    coverage["iou_after_deployed"] = 0.9 * coverage["iou_after"]
    coverage.to_parquet(copy.coverage_file)
    found = pd.read_parquet(run.detections_file).assign(predicted_iou=0.5)
    found.to_parquet(copy.detections_file)
    again = Measurements(measurements.truth)
    expected = nms_recall(coverage, "deployed")
    assert again.value(copy, "NR70_deployed") == 100 * expected["NR70"] < again.value(copy, "NR70")
    assert again.value(copy, "recall_after_deployed") == 100 * expected["recall_after"]
    assert again.value(copy, "IoU_error") == iou_prediction_error(measurements.truth, found)["IoU_error"]
    dense = select_images(measurements.truth, "crowdedness=dense")
    part = found[found["image_id"].isin(dense)]
    assert (
        again.value(copy, "IoU_error_all", "crowdedness=dense")
        == iou_prediction_error(measurements.truth, part)["IoU_error_all"]
    )


def test_category_ap_averages_to_ap(measured) -> None:
    measurements, run = measured
    by_category = measurements.category_ap(run)
    assert sum(by_category.values()) / len(by_category) == pytest.approx(measurements.value(run, "AP"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_registry_holds_every_number_of_nms_recall(protocol: str) -> None:
    ending = PROTOCOLS[protocol]
    coverage = pd.DataFrame({f"iou_{when}{ending}": [0.95] for when in ("before", "after")})
    numbers = nms_recall(coverage, protocol)
    found = {name for name, metric in METRICS.items() if metric.source == "coverage"}
    assert {name + ending for name in numbers} <= found
    assert len(found) == len(PROTOCOLS) * len(numbers)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("APS", 0, 32**2), ("ARM", 32**2, 96**2), ("APL", 96**2, 1e10)]
)
def test_a_metric_of_one_size_rests_on_the_objects_of_that_size(measured, name, low, high) -> None:
    measurements, run = measured
    for selection in (None, "crowdedness=dense"):
        images = measurements.truth.images["id"] if selection is None else measurements.images(selection)
        objects = measurements.truth.objects
        objects = objects[objects["image_id"].isin(images) & objects["area"].between(low, high)]
        expected = {"objects": len(objects), "categories": objects["category_id"].nunique()}
        everything = measurements.rests_on(run, "AP", selection)
        assert measurements.rests_on(run, name, selection) == {"images": everything["images"], **expected}
        assert expected["objects"] < everything["objects"]


def test_unknown_metric_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"metric 'AP55' is unknown.*Did you mean 'AP"):
        metric("AP55")


def test_damaged_files_and_foreign_annotations_are_refused(measured, tmp_path: Path) -> None:
    measurements, run = measured
    copy = RunDirectory(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    pd.read_parquet(copy.coverage_file).iloc[1:].to_parquet(copy.coverage_file)
    with pytest.raises(SuiteError, match=r"coverage\.parquet: \d+ objects; the annotations have"):
        measurements.value(copy, "NR")
    with pytest.raises(SuiteError, match=r"result\.json: coverage\.parquet is damaged"):
        measurements.value(copy, "train_hours")
    copy.detections_file.write_bytes(b"PAR1 cut short")
    with pytest.raises(SuiteError, match=r"detections\.parquet: cannot read"):
        measurements.value(copy, "AP")


def test_slices_that_are_known_are_evaluated_in_one_pass(measured, monkeypatch: pytest.MonkeyPatch) -> None:
    measurements, run = measured
    passes = []

    def counting(truth, found, slices, *more):
        passes.append(list(slices))
        return evaluate_slices(truth, found, slices, *more)

    monkeypatch.setattr("suite.evaluation.measurements.evaluate_slices", counting)
    for name in ("crowdedness=sparse", "crowdedness=dense"):
        measurements.expect(run, name)
    measurements.value(run, "AP", "crowdedness=dense")
    measurements.value(run, "AP50", "crowdedness=sparse")
    measurements.value(run, "AP")
    assert passes == [["", "crowdedness=dense", "crowdedness=sparse"]]
    measurements.value(run, "AP", "objects=0-10")
    assert passes[1:] == [["objects=0-10"]]
