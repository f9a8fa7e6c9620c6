"""`make rehearsal`: runs of preset paper on drawn photos, from their start to the report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from suite.data import coco
from suite.runs.options import spec_at
from suite.runs.presets import dataset_of, resources_of
from suite.runs.resolve import preset_batch, resolve
from suite.workspace import Workspace

ROWS = [
    {"label": "RetinaNet", "method": "retinanet"},
    {"label": "PAA", "method": "paa"},
    {"label": "PAA without voting", "method": "paa", "options": {"voting": False}},
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO root of panoramas, which are cheap at 800 x 1333: 20 to train on, 10 to evaluate."""
    root, rng = tmp_path_factory.mktemp("photos") / "drawn", np.random.default_rng(0)
    for split, count in zip(coco.SPLITS, (20, 10), strict=True):
        (root / split).mkdir(parents=True)
        content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "box"}]}
        for image in range(1, count + 1):
            pixels = rng.integers(90, 160, (64, 640, 3), dtype=np.uint8)
            content["images"].append({"id": image, "file_name": f"{image}.jpg", "width": 640, "height": 64})
            for x in range(20, 600, 600 // (1 + image % 4)):
                pixels[12:52, x : x + 40] = 20
                content["annotations"].append(
                    {"id": len(content["annotations"]) + 1, "image_id": image, "category_id": 1,
                     "bbox": [x, 12, 40, 40], "area": 1600, "iscrowd": 0}
                )  # fmt: skip
            cv2.imwrite(str(root / split / f"{image}.jpg"), pixels)
        path = coco.annotation_file(root, split)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return root


def test_the_config_is_that_of_preset_paper_but_for_its_length(photos: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    paper = resolve(spec_at("ltm", "paper", 0), dataset_of("paper", photos, workspace))
    options = {"backbone": "r101", "schedule": "2x"}
    rehearsed = resolve(spec_at("ltm", "rehearsal", 0, options), dataset_of("rehearsal", photos, workspace))
    assert rehearsed["train_cfg"]["max_epochs"] == 2
    assert rehearsed["model"]["backbone"]["depth"] == 101
    assert rehearsed["optim_wrapper"]["optimizer"] == {**paper["optim_wrapper"]["optimizer"], "lr": 0.01}
    pipelines = [one["train_dataloader"]["dataset"]["pipeline"] for one in (paper, rehearsed)]
    assert pipelines[0] == pipelines[1]
    assert rehearsed["train_dataloader"]["batch_size"] == paper["train_dataloader"]["batch_size"] == 2


def test_it_takes_the_gpus_that_there_are_and_keeps_the_images_of_each(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dataset_of("rehearsal", photos, Workspace(tmp_path))
    for gpus, processes in ((0, 2), (1, 1), (3, 3), (12, 8)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
        monkeypatch.setattr("suite.runs.presets.visible_gpus", lambda gpus=gpus: list(map(str, range(gpus))))
        given = resources_of("ltm", "rehearsal")
        assert (given.gpus, given.processes) == (min(gpus, 8), processes)
        config = resolve(spec_at("ltm", "rehearsal", 0), few)
        assert config["train_dataloader"]["batch_size"] == 2
        assert config["optim_wrapper"]["optimizer"]["lr"] == 0.005
        backend = config["env_cfg"]["dist_cfg"]["backend"]
        assert backend == ("nccl" if gpus else "gloo")
    assert preset_batch("ltm", "rehearsal") == 16


@pytest.mark.slow
def test_runs_of_preset_paper_from_their_start_to_the_report(
    photos: Path, tmp_path: Path, write_experiment
) -> None:
    write_experiment("own.pair", rows=ROWS, factor=["method", "voting"])
    ended = subprocess.run(
        [sys.executable, "-m", "suite.cli", "reproduce", "--preset", "rehearsal", "--experiments", "own.pair",
         "--coco-root", str(photos), "--executor", "local"],
        cwd=tmp_path, capture_output=True, text=True, timeout=1800,
        env={**os.environ, "https_proxy": "http://127.0.0.1:9", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "random numbers in place of torchvision://resnet50" in " ".join(ended.stdout.split())
    assert ended.stdout.count("went through") == 4  # of three runs and in the sum
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) == 3
    trained = [run for run in runs if not (run / "trained_by.json").exists()]
    assert len(trained) == 2
    for run in trained:
        log = (run / "log.txt").read_text()
        assert "torch.distributed.run" in log and "--nproc-per-node 2" in log
        assert "rehearsal: killed after the first checkpoint; starts again" in log
        assert "going on after epoch 1 of 2" in log
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6, 7, 8]
    for run in runs:
        assert (run / "result.json").exists() and not (run / "checkpoints" / "latest.pth").exists()
    (report,) = (path for path in (tmp_path / "reports").iterdir() if path.is_dir())  # beside its lock
    assert report.name.startswith("rehearsal-drawn-excerpt-") and (report / "index.html").exists()
