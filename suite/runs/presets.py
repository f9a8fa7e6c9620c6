"""What a preset trains on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.data.dataset import Dataset, describe
from suite.data.excerpt import excerpt
from suite.errors import SuiteError
from suite.machine import cpu_count, visible_gpus
from suite.runs.adjustments import NONE, Adjustments
from suite.runs.configs import method_info, preset_info
from suite.runs.resources import Resources
from suite.workspace import Workspace


def dataset_of(preset: str, coco_root: Path | None, workspace: Workspace) -> Dataset:
    """The dataset of a preset, or the COCO root that takes its place.

    Of a preset with ``dataset['excerpt']`` it is a few images of the root, which are linked below the
    workspace's ``data/`` after the whole root was checked.

    Raises:
        SuiteError: The preset needs COCO and no root was given, or the root is not a usable COCO root.
    """
    config = preset_info(preset)["dataset"]
    if coco_root is None and config["type"] == "coco":
        raise SuiteError(
            f"preset {preset!r} trains on COCO 2017, and no COCO_ROOT is given.",
            "Give the folder that holds annotations/, train2017/ and val2017/: COCO_ROOT=/path/to/coco.",
        )
    if coco_root is None:
        return describe(config, workspace.data)
    whole = describe({"type": "coco", "root": str(coco_root)}, workspace.data)
    if "excerpt" not in config:
        return whole
    few = workspace.data / f"{whole.name}-excerpt-{whole.fingerprint[:8]}"
    excerpt(whole.root, few, **config["excerpt"])
    return describe({"type": "coco", "root": str(few)}, workspace.data)


RESOURCES = ("cpus", "gpus", "processes", "batch")
"""What a preset's part for a method may say besides config keys: cores, GPUs, processes on a CPU, images per
step."""


def part_of(method: str, preset: str) -> Mapping[str, Any] | None:
    """What a preset says of a method: its own part, or that of the method which it names as ``like``."""
    by_method: dict[str, dict[str, Any]] = preset_info(preset).get("by_method", {})
    names = (method, method_info(method).get("like"))
    return next((by_method[name] for name in names if name in by_method), None)


def stated_resources(method: str, preset: str) -> Resources:
    """What a preset says that a run of a method has."""
    info = {**preset_info(preset), **(part_of(method, preset) or {})}
    return Resources(float(info["cpus"]), float(info["gpus"]), int(info.get("processes", 1)))


def resources_of(method: str, preset: str, adjustments: Adjustments = NONE) -> Resources:
    """What is given to a run of a method; cores follow where other GPUs than the preset's are asked for.

    Of a run on GPUs the cores are an upper bound: executors give less where a machine has fewer for each GPU.
    A rehearsal takes what this machine has: the preset's GPUs or fewer, or all cores.
    """
    stated = stated_resources(method, preset)
    rehearsal = preset_info(preset).get("rehearsal")
    gpus = stated.gpus if adjustments.gpus is None else float(adjustments.gpus)
    if rehearsal and adjustments.gpus is None:
        gpus = min(gpus, float(len(visible_gpus())))
    cpus = stated.cpus * gpus / stated.gpus if gpus and stated.gpus else stated.cpus
    if rehearsal and not gpus:
        cpus = float(cpu_count())
    return Resources(cpus, gpus, 1 if gpus else stated.cpu_processes)


def report_name(preset: str, dataset: Dataset, adjustments: Adjustments = NONE) -> str:
    """Folder of a report: the preset's name where it has its own generated data.

    For a COCO root its folder's name and the start of its fingerprint follow, so that reports of two roots
    never mix; then what was asked for in place of the preset's GPUs and images per step.
    """
    if dataset.kind == "shapes" and preset_info(preset)["dataset"]["type"] == "shapes":
        return f"{preset}{adjustments.suffix}"
    return f"{preset}-{dataset.name}-{dataset.fingerprint[:6]}{adjustments.suffix}"
