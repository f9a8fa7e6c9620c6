"""NMS recall against a loop over objects."""

import numpy as np
import pandas as pd
import pytest

from suite.errors import SuiteError
from suite.evaluation.nms_recall import THRESHOLDS, nms_recall


def frame(seed: int, dtype: type = np.float32) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.4, 1, 300)
    before[:20] = np.repeat(np.array(THRESHOLDS[:5]) / 100, 4)  # exactly at a threshold: not above it
    after = np.where(rng.random(300) < 0.2, before * rng.uniform(0, 1, 300), before)
    before[-3:], after[-3:] = 0.95, 0.95
    return pd.DataFrame({"iou_before": before, "iou_after": after}).astype(dtype)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_counting_objects(seed: int, dtype: type) -> None:
    coverage = frame(seed, dtype)
    result = nms_recall(coverage)
    ratios = []
    for tau in range(50, 95, 5):
        counts = {"before": 0, "after": 0}
        for row in coverage.itertuples():
            for name in counts:
                counts[name] += np.float32(getattr(row, f"iou_{name}")) > np.float32(tau / 100)
        assert result[f"recall_before{tau}"] == pytest.approx(counts["before"] / 300, abs=1e-12)
        assert result[f"recall_after{tau}"] == pytest.approx(counts["after"] / 300, abs=1e-12)
        ratios.append(counts["after"] / counts["before"])
        assert result[f"NR{tau}"] == pytest.approx(ratios[-1], abs=1e-12)
    assert result["NR"] == pytest.approx(sum(ratios) / 9, abs=1e-12)
    assert result["recall_after"] <= result["recall_before"]


def test_an_iou_at_the_threshold_is_not_above_it() -> None:
    at = pd.DataFrame({"iou_before": np.float32([0.6, 0.95]), "iou_after": np.float32([0.6, 0.95])})
    assert nms_recall(at)["recall_before55"] == 1.0
    assert nms_recall(at)["recall_before60"] == 0.5


def test_undefined_ratio_is_none_and_so_is_the_mean() -> None:
    low = pd.DataFrame({"iou_before": [0.6, 0.7], "iou_after": [0.6, 0.0]})
    result = nms_recall(low)
    assert result["NR50"] == 0.5
    assert result["NR90"] is None
    assert result["NR"] is None
    assert result["recall_before90"] == 0.0
    nothing = nms_recall(low.head(0))
    assert nothing["NR"] is None
    assert nothing["recall_before"] is None


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_values_outside_the_unit_interval_are_refused(bad: float) -> None:
    with pytest.raises(SuiteError, match="iou_after has values outside"):
        nms_recall(pd.DataFrame({"iou_before": [0.5], "iou_after": [bad]}))
    with pytest.raises(SuiteError, match="no column 'iou_before'"):
        nms_recall(pd.DataFrame({"iou_after": [0.1]}))
