"""A dataset of coloured rectangles and detectors small enough to train in a second."""

import json
import pprint
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

SIZE = 64
CLASSES = ("dark", "light")
Change = Callable[[dict[str, Any]], None]
MakeRun = Callable[..., Path]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def _write_split(root: Path, name: str, images: int, seed: int) -> Path:
    """Images of one to three rectangles; category ids 3 and 7, so that an id is never its label."""
    rng = np.random.default_rng(seed)
    (root / name).mkdir(parents=True)
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 3, "name": CLASSES[0]}, {"id": 7, "name": CLASSES[1]}]
    for image in range(1, images + 1):
        pixels = np.full((SIZE, SIZE, 3), 128, np.uint8)
        file_name = f"{image:04d}.png"
        content["images"].append({"id": image, "file_name": file_name, "width": SIZE, "height": SIZE})
        for _ in range(int(rng.integers(1, 4))):
            w, h = (int(value) for value in rng.integers(12, 32, 2))
            x, y = int(rng.integers(0, SIZE - w)), int(rng.integers(0, SIZE - h))
            light = int(rng.integers(0, 2))
            pixels[y : y + h, x : x + w] = 230 if light else 30
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image,
                    "category_id": (3, 7)[light],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        cv2.imwrite(str(root / name / file_name), pixels)
    path = root / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train.json, train/, val.json and val/."""
    root = tmp_path_factory.mktemp("rectangles")
    _write_split(root, "train", 12, seed=0)
    _write_split(root, "val", 6, seed=1)
    return root


_ANCHORS = {
    "type": "AnchorGenerator",
    "octave_base_scale": 2,
    "scales_per_octave": 1,
    "ratios": [0.5, 1.0, 2.0],
    "strides": [8, 16, 32],
}
_SQUARE = {"type": "AnchorGenerator", "ratios": [1.0], "octave_base_scale": 4, "scales_per_octave": 1,
           "strides": [8, 16, 32]}  # fmt: skip
_FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}
_HEADS: dict[str, dict[str, Any]] = {
    "RetinaNet": {
        "type": "RetinaHead",
        "anchor_generator": _ANCHORS,
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder"},
        "loss_cls": _FOCAL,
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    },
    "ATSS": {
        "type": "ATSSHead",
        "norm_cfg": {"type": "GN", "num_groups": 4},
        "anchor_generator": _SQUARE,
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_stds": [0.1, 0.1, 0.2, 0.2]},
        "loss_cls": _FOCAL,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    },
    "PAA": {
        "type": "PAAHead",
        "norm_cfg": {"type": "GN", "num_groups": 4},
        "reg_decoded_bbox": True,
        "score_voting": True,
        "topk": 9,
        "anchor_generator": _SQUARE,
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_stds": [0.1, 0.1, 0.2, 0.2]},
        "loss_cls": _FOCAL,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.3},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 0.5},
    },
}  # fmt: skip
_TRAIN_CFG: dict[str, dict[str, Any]] = {
    "RetinaNet": {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.4,
                               "min_pos_iou": 0, "ignore_iof_thr": -1}, "sampler": {"type": "PseudoSampler"}},
    "ATSS": {"assigner": {"type": "ATSSAssigner", "topk": 9}},
    "PAA": {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.1, "neg_iou_thr": 0.1, "min_pos_iou": 0,
                         "ignore_iof_thr": -1}},
}  # fmt: skip


def model_config(method: str) -> dict[str, Any]:
    """An mmdet detector with ResNet-18 of an eighth of the width and an FPN of three levels."""
    return {
        "type": {"RetinaNet": "RetinaNet", "ATSS": "ATSS", "PAA": "PAA"}[method],
        "data_preprocessor": {"type": "DetDataPreprocessor", "mean": [128.0] * 3, "std": [60.0] * 3,
                              "pad_size_divisor": 32},
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "num_stages": 4,
                     "out_indices": (1, 2, 3), "style": "pytorch"},
        "neck": {"type": "FPN", "in_channels": [16, 32, 64], "out_channels": 16, "num_outs": 3},
        "bbox_head": {"num_classes": 2, "in_channels": 16, "feat_channels": 16, "stacked_convs": 1,
                      **_HEADS[method]},
        "train_cfg": {**_TRAIN_CFG[method], "allowed_border": -1, "pos_weight": -1, "debug": False},
        "test_cfg": {"nms_pre": 1000, "min_bbox_size": 0, "score_thr": 0.05,
                     "nms": {"type": "nms", "iou_threshold": 0.6}, "max_per_img": 100},
    }  # fmt: skip


def run_config(dataset: Path, method: str = "RetinaNet", seed: int = 0, epochs: int = 3) -> dict[str, Any]:
    """A complete config: 3 steps of 4 images an epoch."""

    def loader(split: str, pipeline: list[dict[str, Any]], **extra: Any) -> dict[str, Any]:
        return {
            "type": "SeededCocoDataset",
            "ann_file": str(dataset / f"{split}.json"),
            "data_prefix": {"img": str(dataset / split)},
            "metainfo": {"classes": CLASSES},
            "pipeline": [{"type": "LoadImageFromFile"}, *pipeline],
            **extra,
        }

    resize = {"type": "RandomResize", "scale": [(48, 48), (80, 80)], "keep_ratio": True}
    return {
        "default_scope": "mmdet",
        "custom_imports": {
            "imports": ["suite.inference", "suite.training", "suite.telemetry"],
            "allow_failed_imports": False,
        },
        "runner_type": "SuiteRunner",
        "model": model_config(method),
        "randomness": {"seed": seed},
        "train_dataloader": {
            "batch_size": 4,
            "num_workers": 0,
            "sampler": {"type": "EpochSampler", "seed": seed},
            "dataset": loader(
                "train",
                [{"type": "LoadAnnotations", "with_bbox": True}, resize, {"type": "RandomFlip", "prob": 0.5},
                 {"type": "PackDetInputs"}],
                seed=seed,
                filter_cfg={"filter_empty_gt": True, "min_size": 1},
            ),
        },
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": epochs},
        "optim_wrapper": {"type": "OptimWrapper",
                          "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4},
                          "clip_grad": {"max_norm": 10}},
        "param_scheduler": [{"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 5},
                            {"type": "MultiStepLR", "by_epoch": True, "begin": 0, "end": epochs,
                             "milestones": [epochs - 1], "gamma": 0.1}],
        "test_dataloader": {
            "batch_size": 2,
            "num_workers": 0,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": loader(
                "val",
                [{"type": "Resize", "scale": (64, 64), "keep_ratio": True},
                 {"type": "PackDetInputs",
                  "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")}],
                test_mode=True,
            ),
        },
        "test_cfg": {"type": "DetectionLoop"},
        "test_evaluator": {"type": "DetectionDump", "ann_file": str(dataset / "val.json")},
        "default_hooks": {"checkpoint": {"type": "LatestCheckpointHook"}},
        "custom_hooks": [{"type": "RunLogHook", "interval": 2}],
    }  # fmt: skip


def write_run(path: Path, config: dict[str, Any]) -> Path:
    """Make a run directory that the worker can work on."""
    path.mkdir(parents=True)
    source = "".join(f"{key} = {pprint.pformat(value)}\n" for key, value in config.items())
    (path / "config.py").write_text(source)
    dataset = {"name": "rectangles", "kind": "shapes", "fingerprint": "0" * 8}
    spec = {"run_id": path.name, "method": "retinanet", "seed": 0, "identity": {}, "dataset": dataset}
    (path / "spec.json").write_text(json.dumps(spec))
    return path


@pytest.fixture
def make_run(dataset: Path, tmp_path: Path) -> MakeRun:
    """Make a run: ``make_run(name, change=None, **arguments of run_config)``; ``change`` edits the config."""

    def make(name: str = "run", change: Change | None = None, **arguments: Any) -> Path:
        config = run_config(dataset, **arguments)
        if change is not None:
            change(config)
        return write_run(tmp_path / name, config)

    return make


@pytest.fixture(scope="session")
def finished_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that the worker has completed without interruption; do not change it."""
    from suite.training import worker

    path = write_run(tmp_path_factory.mktemp("finished") / "run", run_config(dataset))
    assert worker.main([str(path)]) == 0
    return path
