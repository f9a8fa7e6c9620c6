import json

import pandas as pd
import pytest

from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.tracking.headlines import annotations_of, headline_slices
from suite.workspace import Workspace

from .run_files import detect, make_run, write_annotations

FOUND = [
    (1, 0.9, (10, 10, 20, 20)),
    (2, 0.8, (0, 0, 40, 40)),
    (2, 0.7, (200, 200, 40, 40)),
    *((3, 0.6, (40.0 * (index % 8), 40.0 * (index // 8), 20.0, 20.0)) for index in range(10)),
]


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path)


def test_each_slice_is_the_evaluation_of_a_file_with_its_images(workspace: Workspace) -> None:
    write_annotations(workspace)
    run = make_run(workspace)
    detect(run, FOUND)
    annotations = annotations_of(run, run.spec(), workspace)
    assert annotations == workspace.data / "shapes-1" / "annotations" / "instances_val2017.json"
    content = json.loads(annotations.read_text())
    detections = pd.read_parquet(run.detections_file)
    expected = {}
    for name, image in {"AP_dense": 2, "AP_31_objects": 3}.items():
        only = {
            **content,
            "images": [one for one in content["images"] if one["id"] == image],
            "annotations": [one for one in content["annotations"] if one["image_id"] == image],
        }
        truth = GroundTruth.from_coco(only)
        found = evaluate(truth, detections[detections["image_id"] == image], evaluator="pycocotools").metrics[
            "AP"
        ]
        assert found is not None
        expected[name] = 100 * found
    assert headline_slices(run, annotations) == pytest.approx(expected)
    assert 0 < expected["AP_31_objects"] < expected["AP_dense"] < 100


def test_a_slice_without_objects_has_no_number(workspace: Workspace) -> None:
    write_annotations(workspace)
    run = make_run(workspace)
    detect(run, FOUND[:3])
    file = workspace.data / "shapes-1" / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 3]
    file.write_text(json.dumps(content))
    assert set(headline_slices(run, file)) == {"AP_dense"}


def test_detections_of_another_dataset_give_nothing(workspace: Workspace) -> None:
    write_annotations(workspace)
    run = make_run(workspace)
    detect(run, [(77, 0.5, (0, 0, 5, 5))])
    annotations = annotations_of(run, run.spec(), workspace)
    assert annotations is not None
    assert headline_slices(run, annotations) == {}


def test_a_dataset_that_is_not_here_is_none(workspace: Workspace) -> None:
    run = make_run(workspace)
    assert annotations_of(run, run.spec(), workspace) is None
    run.config_file.write_text("this is no config")
    assert annotations_of(run, run.spec(), workspace) is None
