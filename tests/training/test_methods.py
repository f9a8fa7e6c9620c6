"""The methods that are mmdet's, from their config at the smallest preset to a result."""

from pathlib import Path

import pytest
from training_runs import CLASSES, write_run

from suite.data.dataset import Dataset, Split
from suite.files import read_json
from suite.runs.resolve import resolve
from suite.runs.spec import RunSpec
from suite.training import worker

SLOW = ("cascade_rcnn", "foveabox", "fsaf", "libra_rcnn", "reppoints")


@pytest.mark.parametrize(
    "method", ["fcos", "faster_rcnn", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_it_trains_and_is_evaluated(
    method: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, val = (Split(dataset / f"{name}.json", dataset / name, 1, 1, "0") for name in ("train", "val"))
    described = Dataset("rectangles", "shapes", dataset, train, val, CLASSES)
    run = write_run(tmp_path / "run", resolve(RunSpec(method, "smoke", 0), described))
    assert worker.main([str(run)]) == 0
    result = read_json(run / "result.json")
    assert result["steps"] == 3 and result["images_per_second"] > 0
    assert 0.7e6 < result["parameters"] < 3e6
    covered = method in ("fcos", "fsaf")
    assert (run / "coverage.parquet").exists() is covered
    assert covered or result["metrics"]["NR"] is None
    notices = [line for line in capsys.readouterr().out.splitlines() if line.startswith("notice: ")]
    assert len([line for line in notices if "no assignment.jsonl" in line]) == 1
    assert len([line for line in notices if "no coverage.parquet" in line]) == (0 if covered else 1)
