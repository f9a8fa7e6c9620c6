"""What a machine computes with: packages, code, hardware."""

import platform
from pathlib import Path
from typing import Any

import torch

from suite.machine import cpu_count, cpu_model, git_state
from suite.runs.environments import installed

PACKAGES = (
    "anchor-assignment-suite", "torch", "torchvision", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection",
    "numpy", "pandas", "opencv-python-headless", "pycocotools", "hotcoco", "scipy", "scikit-learn",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """An entry of environment.json: packages, CUDA version, python, platform, git and hardware."""
    return {
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git": git_state(Path(__file__).resolve().parent),
        "hardware": {
            "cpu": cpu_model(),
            "cores": int(cpu_count()),
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
    }
