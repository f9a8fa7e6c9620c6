"""`suite evaluate` as a person types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from suite.cli import Slices
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.slices import DIMENSIONS, select_images

SAMPLE = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "cocoapi_sample"


def suite(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "suite.cli", "evaluate", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """gt.json and results.json: 30 images with 0 to 14 objects, most of them found with some noise."""
    rng = np.random.default_rng(0)
    annotations, results = [], []
    for image in range(1, 31):
        for _ in range(image % 15):
            box = [*rng.uniform(0, 200, 2), *rng.uniform(20, 120, 2)]
            category = int(rng.integers(1, 4))
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": category,
                    "bbox": box, "area": box[2] * box[3], "iscrowd": 0,
                }
            )  # fmt: skip
            noisy = (np.array(box) + rng.normal(0, 4, 4)).tolist()
            results.append(
                {"image_id": image, "category_id": category, "bbox": noisy, "score": float(rng.random())}
            )
    content = {
        "images": [{"id": image, "width": 320, "height": 320} for image in range(1, 31)],
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "[ring]"}, {"id": 3, "name": "rod"}],
        "annotations": annotations,
    }
    (tmp_path / "gt.json").write_text(json.dumps(content))
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path


FILES = ("--gt", "gt.json", "--detections", "results.json")


def expected(folder: Path, selection: str | None = None):
    truth = GroundTruth.load(folder / "gt.json")
    frame = pd.DataFrame(json.loads((folder / "results.json").read_text()))
    frame[list("xywh")] = frame["bbox"].tolist()
    return evaluate(truth, frame, select_images(truth, selection) if selection else None)


def test_tables_are_printed_and_files_written_with_the_numbers_of_the_evaluator(folder: Path) -> None:
    done = suite(folder, *FILES, "--slices", "all", "--categories", "--out", "here/there")
    assert done.returncode == 0, done.stderr
    overall = expected(folder)
    for name in ("AP", "AR100"):
        row = [name, f"{100 * overall.metrics[name]:.1f}", "30", "210", "3"]
        assert row in [line.split() for line in done.stdout.splitlines()]
    for heading in (*DIMENSIONS, "shape", "size", "Categories with objects", "[ring]", "most_slender"):
        assert heading in done.stdout
    out = folder / "here" / "there"
    assert done.stdout.splitlines()[-3:] == [
        f"here/there/{name}" for name in ("metrics.json", "slices.csv", "categories.csv")
    ]
    summary = json.loads((out / "metrics.json").read_text())
    assert summary["metrics"] == overall.metrics
    assert (summary["images"], summary["objects"], summary["categories"]) == (30, 210, 3)
    assert (summary["evaluator"], summary["version"]) == ("hotcoco", overall.version)
    assert summary["parameters"]["detections_per_image_and_category"] == [1, 10, 100]
    assert summary["ground_truth"]["sha256"] == GroundTruth.load(folder / "gt.json").fingerprint
    assert len(summary["detections"]["sha256"]) == 64
    assert summary["detections"]["evaluated"] == 210
    slices = pd.read_csv(out / "slices.csv").set_index(["dimension", "bin"])
    assert set(slices.index.get_level_values(0)) == {"all", *DIMENSIONS, "shape", "size"}
    row, part = slices.loc[("objects", "11-20")], expected(folder, "objects=11-20")
    assert row["AP"] == pytest.approx(part.metrics["AP"], abs=1e-11)
    assert (row["images"], row["objects"], row["categories"]) == (8, 100, 3)
    assert row["fixed_categories"] == 3 and row["AP_fixed"] == pytest.approx(row["AP"], abs=1e-11)
    assert pd.isna(slices.loc[("objects", "31+"), "AP"])
    categories = pd.read_csv(out / "categories.csv")
    of_slice = categories[categories["slice"] == "objects=11-20"]
    assert of_slice["AP"].tolist() == pytest.approx(part.categories["AP"].tolist(), abs=1e-11)
    assert of_slice["name"].tolist() == ["disc", "[ring]", "rod"]


def test_both_evaluators_write_the_same_numbers(folder: Path) -> None:
    for evaluator in ("hotcoco", "pycocotools"):
        done = suite(folder, *FILES, "--evaluator", evaluator, "--out", evaluator)
        assert done.returncode == 0, done.stderr
    first, second = (pd.read_csv(folder / name / "slices.csv") for name in ("hotcoco", "pycocotools"))
    pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=0, atol=1e-11)
    assert len(first) == 1 + 4 + 3  # all, objects, crowdedness
    assert json.loads((folder / "pycocotools" / "metrics.json").read_text())["evaluator"] == "pycocotools"


def test_bad_input_exits_with_2_and_lenient_prints_what_it_left_out(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    results += [{**results[0], "image_id": 99}, {**results[0], "score": float("nan")}, {"image_id": 1}]
    (folder / "results.json").write_text(json.dumps(results))
    content = json.loads((folder / "gt.json").read_text())
    del content["annotations"][0]["iscrowd"]
    (folder / "gt.json").write_text(json.dumps(content))
    done = suite(folder, *FILES, "--out", "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "annotations[] has no iscrowd: 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()
    done = suite(folder, *FILES, "--lenient", "--out", "out", "--slices", "none")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:4] == [
        "annotations: 1 x annotations[] has no iscrowd: taken as 0",
        "detections: 1 x record has no category_id, score, bbox: left out",
        "detections: 1 x image_id not in the ground truth: left out",
        "detections: 1 x score is not finite: left out",
    ]
    summary = json.loads((folder / "out" / "metrics.json").read_text())
    assert sum(summary["detections"]["dropped"].values()) == 3
    assert summary["detections"]["evaluated"] == 210
    assert summary["ground_truth"]["mended"] == {"annotations[] has no iscrowd: taken as 0": 1}


def test_an_unknown_slice_is_refused_with_the_nearest(folder: Path) -> None:
    done = suite(folder, *FILES, "--slices", "crowdednes")
    assert done.returncode == 2
    assert "--slices: 'crowdednes' is unknown. Did you mean 'crowdedness'?" in done.stderr


def test_help_and_page_name_every_slice(project: Path) -> None:
    page = (project / "docs" / "how-to" / "evaluate.md").read_text()
    for name in (*DIMENSIONS, "shape", "size"):
        assert f" {name}," in Slices.__metadata__[0].help or f" {name}." in Slices.__metadata__[0].help
        assert f"| `{name}` |" in page


def test_nothing_of_the_training_is_imported(folder: Path) -> None:
    arguments = ["evaluate", *FILES, "--slices", "all", "--categories", "--out", "out"]
    script = (
        "import sys; from suite.cli import app; "
        f"app({arguments}, standalone_mode=False); "
        "print(*sorted({'torch', 'ray', 'mlflow', 'mmengine', 'mmdet', 'mmcv', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"COCO's example detections are not at {SAMPLE}")
@pytest.mark.parametrize("evaluator", ["hotcoco", "pycocotools"])
def test_the_official_numbers_of_cocos_example_are_printed(tmp_path: Path, evaluator: str) -> None:
    truth, found = "instances_val2014_100.json", "instances_val2014_fakebbox100_results.json"
    files = ("--gt", str(SAMPLE / truth), "--detections", str(SAMPLE / found))
    done = suite(tmp_path, *files, "--evaluator", evaluator, "--slices", "none")
    assert done.returncode == 0, done.stderr
    text = (SAMPLE / "val2014_fake_eval_res.txt").read_text().split("type=bbox")[1].split("type=")[0]
    official = [float(line.rsplit("=", 1)[1]) for line in text.splitlines() if line.startswith(" Average")]
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(" A")]
    assert [row[1] for row in rows] == [f"{100 * value:.1f}" for value in official]
    assert len(official) == 12
