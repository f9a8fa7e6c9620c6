"""What a run was made with: packages, code, hardware, data."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "anchor-assignment-suite", "torch", "torchvision", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection",
    "numpy", "pandas", "opencv-python-headless", "pycocotools", "hotcoco", "scipy", "scikit-learn",
)  # fmt: skip


def environment(dataset: dict[str, Any]) -> dict[str, Any]:
    """The content of environment.json: packages, python, platform, git, hardware, dataset.

    Args:
        dataset: Name, kind and fingerprint, as in spec.json.
    """
    return {
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git": _git_state(Path(__file__).resolve().parent),
        "hardware": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
        "dataset": dataset,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state(folder: Path) -> dict[str, Any]:
    """Commit of the checkout around ``folder`` and whether tracked files differ; None outside of one."""
    answers = []
    for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return {"commit": None, "dirty": None}
        answers.append(done.stdout.strip() if done.returncode == 0 else None)
    commit, changes = answers
    return {"commit": commit, "dirty": None if commit is None or changes is None else bool(changes)}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
