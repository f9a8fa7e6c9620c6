"""What MLflow is told about a run: a handful of tags, params and metrics, read from the run's files."""

import datetime
import hashlib
import math
from collections.abc import Iterator
from typing import Any

from suite.experiments.spec import RunSpec
from suite.files import read_json
from suite.runs import RunDirectory

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
RESULT_METRICS = ("train_seconds", "evaluation_seconds", "peak_memory_mb", "parameters")
STATUSES = {"done": "FINISHED", "failed": "FAILED", "running": "RUNNING", "interrupted": "KILLED"}


def has_started(run: RunDirectory) -> bool:
    """Whether a training of the run ever began; before that there is nothing to mirror."""
    return any(file.exists() for file in (run.metrics_file, run.result_file, run.failure_file))


def run_state(run: RunDirectory, *, done: bool, running: bool = False) -> str:
    """``done``, ``running``, ``failed`` or ``interrupted``."""
    if done:
        return "done"
    if running or run.is_locked():
        return "running"
    return "failed" if run.failure() is not None else "interrupted"


def name_of(spec: dict[str, Any]) -> str:
    """A name for people, like ``ltm K=20 seed 0``."""
    return RunSpec(spec["method"], spec["preset"], spec["seed"], spec["options"]).name


def tags_of(run: RunDirectory, spec: dict[str, Any], state: str) -> dict[str, str]:
    """Flat tags, to filter by in MLflow's pages."""
    tags = {
        "suite.run_id": run.run_id,
        "suite.method": spec["method"],
        "suite.seed": str(spec["seed"]),
        "suite.preset": spec["preset"],
        "suite.state": state,
    }
    if run.environment_file.exists():
        git = read_json(run.environment_file).get("git") or {}
        if git.get("commit"):
            tags["suite.git_commit"] = git["commit"] + ("-dirty" if git.get("dirty") else "")
    if (failure := run.failure()) is not None:
        tags["suite.failure"] = failure[:500]
    return tags


def params_of(spec: dict[str, Any]) -> dict[str, str]:
    """At most about 25: what was asked for, and what a reader of the config looks up first."""
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


def curve_points(line: dict[str, Any]) -> Iterator[Point]:
    """The metrics over time in one line of ``metrics.jsonl``: losses, learning rate, step time, val AP."""
    for key, value in line.items():
        if key == "val_AP":
            name = "val/AP"
        elif key.startswith("loss") or key in ("lr", "step_seconds"):
            name = f"train/{key}"
        else:
            continue
        if isinstance(value, (int, float)) and math.isfinite(value):
            yield name, float(value), milliseconds(line["time"]), int(line["step"])


def result_points(result: dict[str, Any]) -> Iterator[Point]:
    """The metrics of ``result.json``, under their own names, at the last step."""
    values = {**result["metrics"], **{name: result.get(name) for name in RESULT_METRICS}}
    for name, value in values.items():
        if isinstance(value, (int, float)) and math.isfinite(value):
            yield name, float(value), milliseconds(result["finished"]), int(result["steps"])


def milliseconds(iso: str) -> int:
    """An ISO time with its offset, as milliseconds since 1970."""
    return int(datetime.datetime.fromisoformat(iso).timestamp() * 1000)


def digest_of(*parts: bytes) -> str:
    """A short hash of several byte strings."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
