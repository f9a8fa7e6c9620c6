"""What an installation without extras can do, and what it says where a package is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.extras import OPTIONAL, missing_extra

# Python imports a module of this name by itself, before anything else.
BLOCKER = """
import os, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["BLOCKED"].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with annotations of four images, and the detections of two detectors."""
    box = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 40]}
    boxes = [{**box, "image_id": image} for image in range(1, 5)]
    content = {
        "images": [{"id": image, "width": 100, "height": 100} for image in range(1, 5)],
        "categories": [{"id": 1, "name": "disc"}],
        "annotations": [
            {**each, "id": number, "area": 2000, "iscrowd": 0} for number, each in enumerate(boxes, 1)
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(content))
    (tmp_path / "all.json").write_text(json.dumps([{**each, "score": 0.9} for each in boxes]))
    (tmp_path / "some.json").write_text(json.dumps([{**each, "score": 0.8} for each in boxes[:2]]))
    return tmp_path


def without(modules: set[str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a Python that cannot import the modules."""
    (folder / "blocker").mkdir(exist_ok=True)
    (folder / "blocker" / "sitecustomize.py").write_text(BLOCKER)
    path = os.pathsep.join(filter(None, [str(folder / "blocker"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "suite.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "BLOCKED": " ".join(modules), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("evaluate", "--detections", "all.json", "--slices", "all", "--out", "out"), "out/metrics.json"),
        (("evaluate", "--detections", "all.json", "--evaluator", "pycocotools"), "pycocotools 2."),
        (("compare", "all.json", "some.json", "--replicates", "100", "--out", "out"), "out/comparison.csv"),
    ],
)
def test_evaluate_and_compare_need_no_extra(folder: Path, command: tuple[str, ...], expected: str) -> None:
    installed_by_typer = {"pydantic"}
    done = without(set(OPTIONAL) - installed_by_typer, folder, *command, "--gt", "gt.json")
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_plan_data_and_report_need_nothing_that_trains(folder: Path, write_experiment) -> None:
    write_experiment("mine.pair")
    training = {"torch", "mmcv", "mmdet", "imaug", "ray", "psutil", "mlflow", "optuna", "optuna_dashboard"}
    assert training < set(OPTIONAL)
    request = ("--preset", "smoke", "--experiments", "mine.pair")
    for command, expected in (
        (("plan", *request), "2 runs, 2 to do"),
        (("data", "--preset", "smoke"), "disc"),
        (("report", *request), "Report: "),
    ):
        done = without(training, folder, *command)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


@pytest.mark.parametrize(
    ("module", "command", "package"),
    [
        ("optuna", ("tune", "ltm_tpe"), "optuna"),
        ("mlflow", ("ui",), "mlflow"),
        ("mlflow", ("mlflow-sync",), "mlflow"),
        ("torch", ("run", "--preset", "smoke", "--executor", "local"), "torch"),
        ("mmdet", ("tune", "ltm_tpe"), "onedl-mmdetection"),
    ],
)
def test_a_missing_package_is_named_with_the_remedy(
    folder: Path, module: str, command: tuple[str, ...], package: str
) -> None:
    done = without({module}, folder, *command)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: this command needs {package}, which is not installed.\n"
        "  -> pip install 'anchor-assignment-suite[all]'\n"
    )


def test_another_missing_module_keeps_its_traceback(folder: Path) -> None:
    done = without({"hotcoco"}, folder, "evaluate", "--gt", "gt.json", "--detections", "all.json")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "No module named 'hotcoco'" in done.stderr


def test_only_an_optional_package_itself_is_an_extra_that_is_missing() -> None:
    assert "needs torch," in str(missing_extra(ModuleNotFoundError("", name="torch")))
    for name in ("numpy", "suite.nowhere", "mmcv._ext", None):
        assert missing_extra(ModuleNotFoundError("", name=name)) is None
