"""The shipped configs train and test with mmdet's own command-line tools."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import mmdet
import numpy as np
import pandas as pd
import pytest
from mmdet.datasets import CocoDataset
from training_runs import CLASSES, SIZE

import suite
from suite.files import read_json_lines

TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"
METHODS = Path(suite.__file__).parent / "configs" / "methods"
MMDETS = (
    "cascade_rcnn", "cornernet", "faster_rcnn", "fcos", "foveabox", "fsaf", "ga_faster_rcnn", "ga_retinanet",
    "libra_rcnn", "reppoints", "tridentnet",
)  # fmt: skip
"""Models of mmdet's own configs, which its tools train anyway."""

OWN_CONFIG = """
_base_ = [{method!r}]
_resize = dict(type="Resize", scale=({size}, {size}), keep_ratio=True)
_meta = dict(classes={classes!r})
_keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
model = dict(
    backbone=dict(depth=18, base_channels=8, frozen_stages=-1, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=64),
    bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=1, num_classes=2),
)
train_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(
        data_root={root!r}, ann_file="train.json", data_prefix=dict(img="train/"), metainfo=_meta,
        filter_cfg=dict(min_size=1),
        pipeline=[
            dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True), _resize,
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(
        data_root={root!r}, ann_file="val.json", data_prefix=dict(img="val/"), metainfo=_meta,
        pipeline=[dict(type="LoadImageFromFile"), _resize, dict(type="PackDetInputs", meta_keys=_keys)],
    ),
)
test_evaluator = dict(ann_file={annotations!r})
custom_hooks = [dict(type="RunLogHook", interval=1)]
train_cfg = dict(max_epochs=1)
"""


def tool(name: str, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(TOOLS / f"{name}.py"), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    "method",
    [
        "paa",
        *(
            pytest.param(path.stem, marks=pytest.mark.slow)
            for path in sorted(METHODS.glob("*.py"))
            if path.stem not in ("paa", *MMDETS)
        ),
    ],
)
def test_a_shipped_config_trains_and_tests(method: str, dataset: Path, tmp_path: Path) -> None:
    config = tmp_path / "own.py"
    config.write_text(
        OWN_CONFIG.format(
            method=str(METHODS / f"{method}.py"), size=4 * SIZE, classes=CLASSES, root=str(dataset) + "/",
            annotations=str(dataset / "val.json"),
        )
    )  # fmt: skip
    tool("train", str(config), "--work-dir", str(tmp_path / "out"), folder=tmp_path)
    lines = read_json_lines(tmp_path / "out" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(0 < line["loss"] < 1e4 for line in lines)
    checkpoint = tmp_path / "out" / "checkpoints" / "latest.pth"
    tool("test", str(config), str(checkpoint), "--work-dir", str(tmp_path / "out"), folder=tmp_path)
    assert (tmp_path / "out" / "detections.parquet").is_file()


SMALL = (
    "model.backbone.depth=18", "model.backbone.base_channels=8", "model.backbone.init_cfg=None",
    "model.neck.in_channels=[8,16,32,64]", "model.neck.out_channels=16", "model.bbox_head.in_channels=16",
    "model.bbox_head.feat_channels=16", "model.bbox_head.stacked_convs=1",
    "train_dataloader.dataset.pipeline.2.scale=(96,96)", "test_dataloader.dataset.pipeline.1.scale=(96,96)",
    "train_cfg.max_epochs=1",
)  # fmt: skip
"""What makes a method's own config small enough for a test; its data, hooks and evaluator stay."""


def write_coco(root: Path, splits: dict[str, int]) -> None:
    """Images of one rectangle in COCO's layout, with COCO's categories."""
    rng = np.random.default_rng(0)
    names = CocoDataset.METAINFO["classes"]
    for split, count in splits.items():
        (root / f"{split}2017").mkdir(parents=True)
        content = {"images": [], "annotations": []}
        content["categories"] = [{"id": index, "name": name} for index, name in enumerate(names, start=1)]
        for image in range(1, count + 1):
            pixels = np.full((SIZE, SIZE, 3), 128, np.uint8)
            x, y, w, h = (int(value) for value in rng.integers(8, 30, 4))
            pixels[y : y + h, x : x + w] = 240
            name = f"{image:012d}.png"
            cv2.imwrite(str(root / f"{split}2017" / name), pixels)
            content["images"].append({"id": image, "file_name": name, "width": SIZE, "height": SIZE})
            content["annotations"].append(
                {"id": image, "image_id": image, "category_id": 1 + image % 80, "bbox": [x, y, w, h],
                 "area": w * h, "iscrowd": 0}
            )  # fmt: skip
        file = root / "annotations" / f"instances_{split}2017.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))


def test_a_methods_own_config_trains_validates_and_tests_on_a_folder_of_coco(tmp_path: Path) -> None:
    write_coco(tmp_path / "data" / "coco", {"train": 6, "val": 4})
    config, out = str(METHODS / "ltm.py"), tmp_path / "out"
    tool("train", config, "--work-dir", str(out), "--cfg-options", *SMALL, folder=tmp_path)
    lines = read_json_lines(out / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [3]
    assert [line["epoch"] for line in lines if "val_AP" in line] == [1]
    checkpoint = out / "checkpoints" / "latest.pth"
    tool("test", config, str(checkpoint), "--work-dir", str(out), "--cfg-options", *SMALL, folder=tmp_path)
    assert set(pd.read_parquet(out / "detections.parquet")["image_id"]) <= {1, 2, 3, 4}
    assert pd.read_parquet(out / "coverage.parquet")["annotation_id"].tolist() == [1, 2, 3, 4]


def test_a_method_trains_without_a_split_to_validate_on_and_says_so(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", {"train": 4})
    root = ("train_dataloader.dataset.data_root=coco/", "test_dataloader.dataset.data_root=coco/")
    out = tmp_path / "out"
    told = tool(
        "train", str(METHODS / "ltm.py"), "--work-dir", str(out), "--cfg-options", *SMALL, *root,
        folder=tmp_path,
    )  # fmt: skip
    assert "notice: no val_AP: coco/annotations/instances_val2017.json is missing" in told
    assert not [line for line in read_json_lines(out / "metrics.jsonl") if "val_AP" in line]
    assert (out / "checkpoints" / "latest.pth").exists()
