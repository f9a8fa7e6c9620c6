"""What MLflow is told about a run: a handful of tags, params and metrics, read from the run's files."""

import datetime
import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from suite.files import read_json
from suite.runs.directory import RunDirectory
from suite.runs.spec import RunSpec
from suite.tracking.damage import Unsendable, reading
from suite.workspace import Workspace

Point = tuple[str, float, int, int]
"""A metric's value: name, value, time in ms since 1970, step."""

CONFIG_PARAMS = {
    "head": "model.bbox_head.type",
    "assigner": "model.train_cfg.assigner.type",
    "backbone_depth": "model.backbone.depth",
    "neck_channels": "model.neck.out_channels",
    "stacked_convs": "model.bbox_head.stacked_convs",
    "num_classes": "model.bbox_head.num_classes",
    "nms_iou": "model.test_cfg.nms.iou_threshold",
    "optimizer": "optim_wrapper.optimizer.type",
    "lr": "optim_wrapper.optimizer.lr",
    "momentum": "optim_wrapper.optimizer.momentum",
    "weight_decay": "optim_wrapper.optimizer.weight_decay",
    "clip_grad": "optim_wrapper.clip_grad.max_norm",
    "batch_size": "train_dataloader.batch_size",
    "epochs": "train_cfg.max_epochs",
}
RESULT_METRICS = {
    "step_seconds": ("step_seconds", 1.0, 4),
    "images_per_second": ("images_per_second", 1.0, 2),
    "memory_mb": ("peak_memory_mb", 1.0, 1),
    "train_hours": ("train_seconds", 1 / 3600, 4),
}
"""Metric -> field of ``result.json``, factor, decimals."""

SYSTEM_METRICS = ("cpu_percent", "memory_mb", "gpu_percent", "gpu_memory_mb")
STATUSES = {"done": "FINISHED", "failed": "FAILED", "running": "RUNNING", "interrupted": "KILLED"}


def has_started(run: RunDirectory) -> bool:
    """Whether a worker ever began with the run; before that there is nothing to mirror."""
    files = (run.environment_file, run.metrics_file, run.result_file, run.failure_file)
    return any(file.exists() for file in files)


def started_runs(workspace: Workspace) -> dict[str, list[RunDirectory]]:
    """Every run that was ever started, by preset; a run whose spec is damaged under an empty name."""
    found: dict[str, list[RunDirectory]] = {}
    for spec_file in sorted(workspace.runs.glob("*/spec.json")):
        run = RunDirectory(spec_file.parent)
        if has_started(run):
            try:
                preset = spec_of(run)["preset"]
            except Unsendable:
                preset = ""
            found.setdefault(preset, []).append(run)
    return found


def spec_of(run: RunDirectory) -> dict[str, Any]:
    """A run's ``spec.json``, with every field that is read here.

    Raises:
        Unsendable: It is missing or damaged.
    """
    with reading(run.spec_file):
        spec = run.spec()
        dataset, identity, options = spec["dataset"], spec["identity"], spec["options"]
        texts = [spec["method"], spec["preset"], dataset["name"], dataset["kind"], dataset["fingerprint"]]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("method, preset and dataset are texts")
        if (
            not isinstance(spec["seed"], int)
            or not isinstance(identity, dict)
            or not isinstance(options, dict)
        ):
            raise TypeError("seed is a number, identity and options are objects")
    return spec


def run_state(run: RunDirectory, *, done: bool, running: bool = False) -> str:
    """``done``, ``running``, ``failed`` or ``interrupted``."""
    if done:
        return "done"
    if running or run.is_locked():
        return "running"
    return "failed" if run.failure() is not None else "interrupted"


def asked(spec: Mapping[str, Any]) -> RunSpec:
    """What a run's ``spec.json`` asks for; its ``name`` is the run's name in MLflow."""
    return RunSpec(spec["method"], spec["preset"], spec["seed"], spec["options"])


def tags_of(run: RunDirectory, spec: Mapping[str, Any], state: str) -> dict[str, str]:
    """Flat tags, to filter by in MLflow's pages."""
    tags = {
        "suite.run_id": run.run_id,
        "suite.method": spec["method"],
        "suite.seed": str(spec["seed"]),
        "suite.preset": spec["preset"],
        "suite.state": state,
    }
    if run.environment_file.exists():
        with reading(run.environment_file):
            for trained in read_json(run.environment_file).get("training", []):
                git = trained.get("git") or {}
                if git.get("commit"):
                    tags["suite.git_commit"] = git["commit"] + ("-dirty" if git.get("dirty") else "")
    tags["suite.failure"] = (run.failure() or "")[:500]
    return tags


def params_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """At most about 25 params: what was asked for, and what a reader of the config looks up first."""
    params = {
        "method": spec["method"],
        "seed": spec["seed"],
        "dataset": spec["dataset"]["name"],
        **spec["options"],
    }
    for name, path in CONFIG_PARAMS.items():
        value: Any = spec["identity"].get("config", {})
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            params.setdefault(name, value)
    return {name: str(value)[:500] for name, value in params.items()}


def curve_points(line: Mapping[str, Any]) -> Iterator[Point]:
    """Metrics over time in a line of ``metrics.jsonl``: losses, learning rate, step time; AP in percent."""
    for key, value in line.items():
        if key == "val_AP":
            name, scale = "val/AP", 100.0
        elif key.startswith("loss") or key in ("lr", "step_seconds"):
            name, scale = f"train/{key}", 1.0
        else:
            continue
        if _finite(value):
            yield name, float(value) * scale, milliseconds(line["time"]), int(line["step"])


def system_points(line: Mapping[str, Any]) -> Iterator[Point]:
    """The metrics of MLflow's page "System metrics" in a line of ``system.jsonl``."""
    for key in SYSTEM_METRICS:
        value: Any = line.get(key)
        if _finite(value):
            yield f"system/{key}", float(value), milliseconds(line["time"]), int(line["step"])


def result_points(result: Mapping[str, Any], slices: Mapping[str, float]) -> Iterator[Point]:
    """The numbers of a finished run at its last step, rounded as in tables; AP and recall in percent.

    Args:
        result: The content of ``result.json``.
        slices: Metrics on slices of images, in percent; see :mod:`suite.tracking.headlines`.
    """
    time, step = milliseconds(result["finished"]), int(result["steps"])
    for name, value in result["metrics"].items():
        if _finite(value):
            yield name, round(100 * value, 2), time, step
    for name, value in slices.items():
        yield name, round(value, 2), time, step
    for name, (source, scale, decimals) in RESULT_METRICS.items():
        field: Any = result.get(source)
        if _finite(field):
            yield name, round(field * scale, decimals), time, step


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def milliseconds(iso: str) -> int:
    """An ISO time with its offset, as milliseconds since 1970."""
    return int(datetime.datetime.fromisoformat(iso).timestamp() * 1000)


def digest_of(*parts: bytes) -> str:
    """A short hash of several byte strings."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
