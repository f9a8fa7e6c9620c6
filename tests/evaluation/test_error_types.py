"""Kinds of errors on an image where each detection is one known kind."""

import pandas as pd
import pytest

from suite.errors import SuiteError
from suite.evaluation.error_types import ERROR_TYPES, error_types
from suite.evaluation.ground_truth import GroundTruth

COLUMNS = ["image_id", "category_id", "score", "x", "y", "w", "h"]


@pytest.fixture
def truth() -> GroundTruth:
    boxes = [
        (1, [0, 0, 100, 100]),
        (1, [200, 0, 100, 100]),
        (2, [0, 200, 100, 100]),
        (2, [200, 200, 100, 100]),
    ]
    annotations = [
        {"id": i, "image_id": 5, "category_id": category, "bbox": box, "area": 1e4, "iscrowd": 0}
        for i, (category, box) in enumerate(boxes, start=1)
    ]
    return GroundTruth.from_coco(
        {
            "images": [{"id": 5, "width": 640, "height": 640}],
            "categories": [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}],
            "annotations": annotations,
        }
    )


RIGHT = (5, 1, 0.9, 0, 0, 100, 100)
KINDS = {
    "Dupe": (5, 1, 0.5, 5, 0, 100, 100),
    "Loc": (5, 1, 0.8, 200, 0, 100, 30),
    "Cls": (5, 1, 0.7, 0, 200, 100, 100),
    "Both": (5, 1, 0.6, 0, 200, 100, 30),
    "Bkg": (5, 1, 0.4, 400, 400, 50, 50),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_detection_of_one_kind_is_counted_as_that(truth: GroundTruth, kind: str) -> None:
    found = error_types(truth, pd.DataFrame([RIGHT, KINDS[kind]], columns=COLUMNS))
    assert {name for name, count in found.counts.items() if count and name != "Miss"} == {kind}
    assert found.counts[kind] == 1


def test_all_kinds_together(truth: GroundTruth) -> None:
    found = error_types(truth, pd.DataFrame([RIGHT, *KINDS.values()], columns=COLUMNS))
    assert {name: found.counts[name] for name in KINDS} == dict.fromkeys(KINDS, 1)
    assert found.counts["Miss"] >= 1
    assert list(found.delta_ap) == list(ERROR_TYPES)
    assert set(found.counts) == set(ERROR_TYPES) - {"FP", "FN"}
    assert all(gain >= 0 for gain in found.delta_ap.values())
    assert found.delta_ap["Loc"] > 0 and found.delta_ap["FN"] > 0
    # Of one category one of two objects is found, first of all: 51 of 101 recalls. Of the other, none.
    assert found.ap == pytest.approx(51 / 101 / 2)


def test_the_thresholds_move_the_border_between_right_and_loose(truth: GroundTruth) -> None:
    loose = pd.DataFrame([KINDS["Loc"]], columns=COLUMNS)  # IoU 0.3
    assert error_types(truth, loose).counts["Loc"] == 1
    assert error_types(truth, loose, foreground=0.25).counts["Loc"] == 0
    strict = error_types(truth, loose, background=0.35)
    assert (strict.counts["Loc"], strict.counts["Bkg"]) == (0, 1)
    assert (strict.foreground, strict.background) == (0.5, 0.35)


def test_no_detections_miss_everything_and_bad_ones_are_refused(truth: GroundTruth) -> None:
    nothing = error_types(truth, pd.DataFrame(columns=COLUMNS).astype(float))
    assert nothing.counts == {**dict.fromkeys(KINDS, 0), "Miss": 4}
    assert nothing.ap == 0
    with pytest.raises(SuiteError, match="score"):
        error_types(truth, pd.DataFrame([(5, 1, float("nan"), 0, 0, 1, 1)], columns=COLUMNS))
