"""Numbers of finished runs: the mean over seeds, and what is undefined."""

import json
from pathlib import Path

import pandas as pd
import pytest

from suite.errors import SuiteError
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.runs.directory import RunDirectory
from suite.tuning.objectives import measure, undefined


@pytest.fixture
def truth(tmp_path: Path) -> GroundTruth:
    """Two images with a small object each."""
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
             for i in (1, 2)]  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in (1, 2)]
    path = tmp_path / "truth.json"
    path.write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "disc"}]})
    )
    return GroundTruth.load(path)


def _run(folder: Path, detected: list[int], memory: float) -> RunDirectory:
    folder.mkdir()
    frame = pd.DataFrame(
        {"image_id": detected, "category_id": 1, "score": 0.9, "x": 5.0, "y": 5.0, "w": 10.0, "h": 10.0}
    )
    frame.to_parquet(folder / "detections.parquet")
    (folder / "result.json").write_text(
        json.dumps({"metrics": {}, "files": {}, "peak_memory_mb": memory, "train_seconds": 1800})
    )
    return RunDirectory(folder)


def test_metrics_are_means_over_the_runs_in_printed_units(truth: GroundTruth, tmp_path: Path) -> None:
    runs = [_run(tmp_path / "one", [1, 2], 100), _run(tmp_path / "two", [1], 200)]
    found = measure(truth, runs, ["AP", "AP50", "peak_memory_mb", "train_hours"])
    single = [evaluate(truth, pd.read_parquet(run.detections_file)).metrics["AP"] or 0 for run in runs]
    assert single[0] == pytest.approx(1) and single[1] < 0.6
    assert found["AP"] == found["AP50"] == pytest.approx(50 * sum(single))
    assert found["peak_memory_mb"] == 150
    assert found["train_hours"] == 0.5


def test_what_a_split_cannot_give_is_undefined(truth: GroundTruth, tmp_path: Path) -> None:
    assert undefined(truth, "APL") and undefined(truth, "ARM")
    assert not any(
        undefined(truth, metric) for metric in ("AP", "APS", "NR", "step_seconds", "peak_memory_mb")
    )
    with pytest.raises(SuiteError, match="APL is undefined"):
        measure(truth, [_run(tmp_path / "one", [1], 1)], ["APL"])
