"""`suite compare`: its numbers, tables and files, and the command as a person types it."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from detection_cases import draw
from rich.console import Console

from suite.errors import SuiteError
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.comparison import Compared, Comparison, compare_files, conclusion
from suite.evaluation.comparison_report import print_comparison, write_comparison
from suite.evaluation.slices import image_slices
from suite.evaluation.uncertainty import ImageInterval


def write_results(path: Path, detections: pd.DataFrame) -> None:
    records = detections.to_dict("records")
    boxes = [[row[key] for key in "xywh"] for row in records]
    path.write_text(
        json.dumps(
            [
                {**{key: row[key] for key in ("image_id", "category_id", "score")}, "bbox": box}
                for row, box in zip(records, boxes, strict=True)
            ]
        )
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gt.json, a.json, and worse.json, which lacks 40 % of a's detections."""
    root = tmp_path_factory.mktemp("files")
    content, detections = draw(1, images=60, decimals=3)
    (root / "gt.json").write_text(json.dumps(content))
    write_results(root / "a.json", detections)
    rng = np.random.default_rng(0)
    worse = detections[rng.random(len(detections)) < 0.6]
    write_results(root / "worse.json", worse)
    return root


@pytest.fixture(scope="module")
def comparison(folder: Path) -> Comparison:
    files = [folder / name for name in ("a.json", "worse.json")]
    return compare_files(folder / "gt.json", files, "all", replicates=200)


def row(comparison: Comparison, group: str, name: str) -> Compared:
    (rows,) = comparison.rows.values()
    return next(one for one in rows if (one.group, one.name) == (group, name))


def test_the_numbers_are_those_of_an_evaluation(comparison: Comparison) -> None:
    truth, (a, b) = comparison.truth, comparison.detectors
    for name, value in evaluate(truth, a.found.frame).metrics.items():
        assert row(comparison, "metric", name).baseline == pytest.approx(value, abs=1e-12)
    result = evaluate(truth, b.found.frame)
    for name, value in result.metrics.items():
        assert row(comparison, "metric", name).other == pytest.approx(value, abs=1e-12)
    ap = row(comparison, "metric", "AP")
    assert (ap.images, ap.objects, ap.categories) == (result.n_images, result.n_objects, result.n_categories)
    for category in result.categories.itertuples():
        one = row(comparison, "category", category.name)
        assert (one.other, one.objects) == (pytest.approx(category.AP, abs=1e-12), category.objects)
    for dimension in ("objects", "crowdedness", "sparsity"):
        for label, images in image_slices(truth, dimension).items():
            found = row(comparison, dimension, label)
            assert found.images == len(images)
            part = evaluate(truth, b.found.frame, images).metrics["AP"]
            assert found.other == (None if part is None else pytest.approx(part, abs=1e-12))
    shapes = [one for one in comparison.rows["worse.json"] if one.group == "shape"]
    assert {"squarest", "most_slender"} <= {one.name for one in shapes}


def test_a_detector_that_lost_detections_is_found_to_be_worse(comparison: Comparison) -> None:
    recall = row(comparison, "metric", "AR100")
    assert recall.gain < 0
    assert recall.difference.high < 0
    assert recall.p == pytest.approx(2 / 201)
    assert recall.difference.estimate == pytest.approx(recall.gain)
    # Paired on the same images: surer than the two levels on their own.
    apart = np.hypot(recall.baseline_interval.standard_error, recall.other_interval.standard_error)
    assert recall.difference.standard_error < 0.9 * apart


def test_few_images_have_a_difference_but_no_interval(comparison: Comparison) -> None:
    few = [one for one in comparison.rows["worse.json"] if 0 < one.images < 10]
    assert few
    for one in few:
        assert one.gain is not None
        assert (one.difference, one.p, one.baseline_interval) == (None, None, None)
    none = [one for one in comparison.rows["worse.json"] if one.images == 0]
    assert none
    assert all(one.baseline is None and one.gain is None for one in none)


def test_a_detector_against_itself_and_a_third(folder: Path) -> None:
    files = [folder / "a.json", folder / "a.json", folder / "worse.json"]
    found = compare_files(folder / "gt.json", files, "none", replicates=100)
    assert list(found.rows) == ["2: a.json", "3: worse.json"]
    same = found.rows["2: a.json"][0]
    assert (same.gain, same.p, same.difference.low, same.difference.high) == (0, 1, 0, 0)
    assert "have the same AP" in conclusion("a", "b", same)


def test_the_seed_decides_the_replicates(folder: Path) -> None:
    def interval(seed: int) -> ImageInterval:
        files = [folder / "a.json", folder / "worse.json"]
        return compare_files(folder / "gt.json", files, "none", 100, seed).rows["worse.json"][0].difference

    assert interval(3) == interval(3)
    assert interval(3) != interval(4)


def level(low: float, high: float) -> Compared:
    gain = ImageInterval((low + high) / 2, low, high, 0.01, 100)
    return Compared("metric", "AP", 50, 90, 3, 0.3, 0.3 + gain.estimate, None, None, gain, 0.01)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.004, 0.020, "b detects better than a: +1.2 AP [0.4, 2.0] over images."),
        (-0.020, -0.004, "b detects worse than a: −1.2 AP [−2.0, −0.4] over images."),
        (-0.01, 0.02, "These images do not tell b and a apart: +0.5 AP [−1.0, 2.0] over images."),
    ],
)
def test_conclusions(low: float, high: float, text: str) -> None:
    found = conclusion("a", "b", level(low, high))
    assert found.startswith(text)
    assert "Training seeds are not part of this interval" in found


def test_files_hold_what_is_printed(comparison: Comparison, folder: Path, tmp_path: Path) -> None:
    console = Console(record=True, width=250, file=io.StringIO())
    print_comparison(comparison, console)
    text = console.export_text()
    paths = write_comparison(comparison, tmp_path, folder / "gt.json")
    before = [path.read_bytes() for path in paths]
    write_comparison(comparison, tmp_path, folder / "gt.json")
    assert [path.read_bytes() for path in paths] == before
    content = json.loads(before[0])
    (rows,) = content["differences"].values()
    ap = next(one for one in rows if one["name"] == "AP")
    assert content["conclusions"]["worse.json"] in " ".join(text.split())
    assert f"{100 * ap['baseline']:.1f}" in text
    assert content["detectors"][1]["error_types"]["counts"]["Miss"] > 0
    with paths[1].open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(rows)
    line = next(one for one in lines if one["name"] == "AP")
    assert float(line["difference"]) == pytest.approx(ap["other"] - ap["baseline"], abs=1e-9)
    assert float(line["low"]) == pytest.approx(ap["difference"]["low"], abs=1e-9)
    for name in ("AR100", "crowdedness", "squarest", "c7", "Dupe"):
        assert name in text


def test_bad_questions_are_refused(folder: Path) -> None:
    files = [folder / "a.json", folder / "worse.json"]
    with pytest.raises(SuiteError, match="1 file of detections"):
        compare_files(folder / "gt.json", files[:1])
    with pytest.raises(SuiteError, match="--replicates 20: expected at least 100"):
        compare_files(folder / "gt.json", files, replicates=20)
    with pytest.raises(SuiteError, match="crowdednes"):
        compare_files(folder / "gt.json", files, "crowdednes")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", "from suite.cli import main\nmain()", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_command(folder: Path, tmp_path: Path) -> None:
    pd.DataFrame(
        [
            {"image_id": one["image_id"], "category_id": one["category_id"], "score": one["score"]}
            | dict(zip("xywh", one["bbox"], strict=True))
            for one in json.loads((folder / "worse.json").read_text())
        ]
    ).to_parquet(tmp_path / "detections.parquet")
    a, b = str(folder / "a.json"), str(tmp_path / "detections.parquet")
    done = run(
        tmp_path, "compare", "--gt", str(folder / "gt.json"), a, b, "--replicates", "100", "--out", "found"
    )
    assert done.returncode == 0, done.stderr
    assert "detections.parquet" in done.stdout
    content = json.loads((tmp_path / "found" / "comparison.json").read_text())
    assert content["baseline"] == "a.json"
    assert content["interval"]["replicates"] == 100


def test_lenient_names_and_counts_what_it_leaves_out(folder: Path, tmp_path: Path) -> None:
    records = json.loads((folder / "a.json").read_text())
    (tmp_path / "bad.json").write_text(json.dumps([{**records[0], "image_id": 4711}, *records[1:]]))
    command = (
        "compare",
        "--gt",
        str(folder / "gt.json"),
        str(folder / "a.json"),
        "bad.json",
        "--slices",
        "none",
    )
    refused = run(tmp_path, *command)
    assert refused.returncode == 2
    assert "4711" in refused.stderr and "bad.json" in refused.stderr
    done = run(tmp_path, *command, "--lenient", "--replicates", "100")
    assert done.returncode == 0, done.stderr
    assert "left out: 1 x image_id not in the ground truth" in done.stdout


def test_neither_torch_nor_ray_nor_mlflow_is_imported(folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom suite.cli import app\n"
        "done = CliRunner().invoke(app, sys.argv[1:])\n"
        "print(done.exit_code, sorted({'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    )
    files = [str(folder / name) for name in ("a.json", "worse.json")]
    arguments = ["compare", "--gt", str(folder / "gt.json"), *files, "--replicates", "100"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.stdout.strip() == "0 []", done.stderr
