"""The shipped configs train and test with mmdet's own command-line tools."""

import os
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
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
        "ltm",
        "paa",
        *(
            pytest.param(path.stem, marks=pytest.mark.slow)
            for path in sorted(METHODS.glob("*.py"))
            if path.stem not in ("ltm", "paa", *MMDETS)
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
