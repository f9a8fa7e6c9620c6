"""Reports on fake runs: detections are jittered ground-truth boxes, some methods' worse than others'."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from suite.data.dataset import Dataset, Split
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.experiments.schema import Experiment, load_experiments
from suite.files import sha256, write_json
from suite.reporting.inputs import ExperimentInput, MethodInput, ReportInput, RunInput
from suite.runs.configs import method_info
from suite.runs.directory import RunDirectory

PROJECT = Path(__file__).resolve().parents[2]
NAMES = (
    "disc",
    "square",
    "triangle",
    "ring",
    "crescent",
    "cross",
    "elbow",
    "stroke",
    "hook",
    "arrow",
    "plank",
    "rod",
)
# Box noise, share of objects missed, and how much worse slender categories get, by method.
QUALITY = {
    "retinanet": (0.16, 0.30, 0.020),
    "retinanet_maskrcnn_benchmark": (0.16, 0.30, 0.020),
    "retinanet_topk": (0.16, 0.30, 0.022),
    "free_anchor": (0.13, 0.22, 0.008),
    "ltm_positive": (0.13, 0.22, 0.008),
    "ltm": (0.12, 0.20, 0.004),
    "ltm_af": (0.13, 0.21, 0.012),
    "atss": (0.14, 0.24, 0.012),
    "paa": (0.12, 0.22, 0.010),
    "retinanet_500": (0.16, 0.30, 0.020),
    "ap_loss_retinanet": (0.16, 0.29, 0.020),
    "alrp_retinanet": (0.13, 0.24, 0.015),
}


def annotations(images: int, seed: int = 0) -> dict[str, Any]:
    """Twelve categories from square to 8:1, images from empty to crowded."""
    rng = np.random.default_rng(seed)
    boxes = []
    for image in range(1, images + 1):
        for _ in range([0, 1, 4, 8, 14, 25, 36][image % 7]):
            category = int(rng.integers(1, 13))
            ratio = 1 + 7 * ((category - 1) / 11) ** 2 * rng.uniform(0.8, 1.2)
            side = np.exp(rng.uniform(np.log(14), np.log(110)))
            w, h = side * np.sqrt(ratio), side / np.sqrt(ratio)
            w, h = (w, h) if rng.random() < 0.5 else (h, w)
            x, y = rng.uniform(0, 256, 2)
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": [x, y, w, h],
                    "area": w * h * 0.8,
                    "iscrowd": int(rng.random() < 0.01),
                }
            )
    return {
        "images": [{"id": image, "width": 256, "height": 256} for image in range(1, images + 1)],
        "categories": [{"id": index, "name": name} for index, name in enumerate(NAMES, start=1)],
        "annotations": boxes,
    }


def fake_run(directory: RunDirectory, truth: GroundTruth, method: str, seed: int) -> None:
    """Write the files of a finished run."""
    noise, missed, slender = QUALITY[method]
    rng = np.random.default_rng([seed, *method.encode()])
    objects = truth.objects
    n = len(objects)
    sigma = (noise + slender * objects["category_id"].to_numpy())[:, None] * rng.uniform(0.2, 1.4, (n, 1))
    size = objects[["w", "h", "w", "h"]].to_numpy()
    boxes = objects[["x", "y", "w", "h"]].to_numpy() + rng.normal(0, 1, (n, 4)) * sigma * size * 0.6
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 2)
    scores = np.clip(1 - 2 * sigma[:, 0] + rng.normal(0, 0.15, n), 0.01, 1)
    frame = pd.DataFrame(
        {"image_id": objects["image_id"], "category_id": objects["category_id"], "score": scores}
    )
    frame[list("xywh")] = boxes
    frame = frame[rng.random(n) > missed]
    false = frame.sample(frac=0.5, random_state=seed).assign(score=lambda f: f["score"] * 0.6)
    false["x"] += 40
    floats = {key: np.float32 for key in ("score", *"xywh")}
    directory.path.mkdir(parents=True)
    pd.concat([frame, false], ignore_index=True).astype(floats).to_parquet(directory.detections_file)
    before = np.clip(1 - sigma[:, 0] * rng.uniform(0.2, 1.2, n), 0, 1)
    after = np.where(rng.random(n) < missed / 2, before * rng.uniform(0.5, 1, n), before)
    coverage = pd.DataFrame({"image_id": objects["image_id"], "annotation_id": objects["id"]})
    coverage = coverage.assign(iou_before=before, iou_after=after)
    coverage.astype({"iou_before": np.float32, "iou_after": np.float32}).to_parquet(directory.coverage_file)
    level = 100 * evaluate(truth, pd.read_parquet(directory.detections_file)).metrics["AP"]
    lines = [{"step": 10, "loss": 2.0}]
    lines += [{"step": step, "val_AP": level * step / 4e4} for step in (100, 200, 300, 400)]
    directory.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    environment = {
        "packages": {"torch": "2.13.0", "onedl-mmdetection": "3.5.1"},
        "hardware": {"cpu": "Test CPU 3000", "cores": 2, "gpus": []},
    }
    write_json(directory.environment_file, {"training": [environment], "evaluation": environment})
    files = [directory.detections_file, directory.coverage_file]
    result = {
        "run_id": directory.run_id,
        "metrics": {"AP": evaluate(truth, pd.read_parquet(directory.detections_file)).metrics["AP"]},
        "train_seconds": 150.0 + 10 * seed,
        "step_seconds": 0.25,
        "images_per_second": 20.0 + seed,
        "files": {file.name: {"sha256": sha256(file), "bytes": file.stat().st_size} for file in files},
    }
    write_json(directory.result_file, result)


MakeReport = Callable[..., ReportInput]


@pytest.fixture(scope="session")
def shipped_experiments() -> list[Experiment]:
    """The project's own experiments."""
    return load_experiments(PROJECT / "experiments")


@pytest.fixture(scope="session")
def make_report(
    tmp_path_factory: pytest.TempPathFactory, shipped_experiments: list[Experiment]
) -> MakeReport:
    """Builds a report on fake runs; runs are shared by the tests, which must not change them."""
    root = tmp_path_factory.mktemp("fake")
    content = annotations(70)
    path = root / "instances_val2017.json"
    path.write_text(json.dumps(content))
    truth = GroundTruth.load(path)

    def build(
        seeds: tuple[int, ...] = (0, 1, 2), ids: tuple[str, ...] = (), missing: dict | None = None
    ) -> ReportInput:
        split = Split(path, root / "val2017", len(truth.images), len(truth.objects), "f" * 64)
        dataset = Dataset("shapes-1234abcd", "shapes", root, split, split, NAMES)
        chosen = [one for one in shipped_experiments if one.core and (not ids or one.id in ids)]
        given = []
        for experiment in chosen:
            runs = {}
            for row in experiment.rows:
                if row.method is not None:
                    runs[row.label] = [run(row.method, seed, missing or {}) for seed in seeds]
            given.append(
                ExperimentInput(experiment, runs, f"suite report --preset mini --experiments {experiment.id}")
            )
        names = {
            row.method: None
            for one in chosen
            for row in one.rows
            if row.method and not row.options.keys() - {"schedule"}
        }
        methods = [
            MethodInput(method_info(name)["label"], [run(name, seed, missing or {}) for seed in seeds])
            for name in names
        ]
        return ReportInput("mini", dataset, given, commit="0123456789ab", runs=root / "runs", methods=methods)

    def run(method: str, seed: int, missing: dict) -> RunInput:
        run_id = f"{method}-s{seed}-0123456789ab"
        if (method, seed) in missing:
            state, reason = missing[method, seed]
            return RunInput(seed, run_id, state, None, reason)
        directory = RunDirectory(root / "runs" / run_id)
        if not directory.path.exists():
            fake_run(directory, truth, method, seed)
        return RunInput(seed, run_id, "done", directory)

    return build
