"""Metrics of finished runs."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from suite.errors import SuiteError
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.nms_recall import nms_recall
from suite.evaluation.slices import select_images
from suite.reporting.measure import Measurements, metric
from suite.runs import RunDirectory


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


def test_category_ap_averages_to_ap(measured) -> None:
    measurements, run = measured
    by_category = measurements.category_ap(run)
    assert sum(by_category.values()) / len(by_category) == pytest.approx(measurements.value(run, "AP"))


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
