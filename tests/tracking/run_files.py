"""A workspace with run directories as the worker leaves them."""

import datetime
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from suite.runs.directory import RunDirectory
from suite.workspace import Workspace

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def iso(seconds: float) -> str:
    return (START + datetime.timedelta(seconds=seconds)).isoformat(timespec="seconds")


def write_lines(run: RunDirectory, first: int, last: int, offset: float = 0.0, mode: str = "w") -> None:
    """Log steps first..last, one line a step and second."""
    with run.metrics_file.open(mode) as stream:
        for step in range(first, last + 1):
            line = {"step": step, "steps": 100, "epoch": 1, "epochs": 2, "lr": 0.01, "loss": 1 / step,
                    "loss_cls": 0.5 / step, "step_seconds": 0.1, "memory_mb": 90,
                    "time": iso(offset + step)}  # fmt: skip
            stream.write(json.dumps(line) + "\n")


def write_validation(run: RunDirectory, step: int, ap: float) -> None:
    with run.metrics_file.open("a") as stream:
        stream.write(json.dumps({"step": step, "epoch": 1, "val_AP": ap, "time": iso(step)}) + "\n")


def make_run(
    workspace: Workspace,
    name: str = "ltm-s0-abc",
    method: str = "ltm",
    seed: int = 0,
    preset: str = "mini",
    **options: Any,
) -> RunDirectory:
    run = RunDirectory(workspace.runs / name)
    run.path.mkdir(parents=True)
    config = {
        "train_dataloader": {"batch_size": 8},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.01}},
    }
    spec = {"run_id": name, "method": method, "preset": preset, "options": options, "seed": seed,
            "dataset": {"name": "shapes-1", "kind": "shapes", "fingerprint": "f" * 64},
            "identity": {"config": config, "sources": {}, "dataset": "f", "seed": seed}}  # fmt: skip
    run.spec_file.write_text(json.dumps(spec))
    annotations = "/trained/elsewhere/data/shapes-1/annotations/instances_val2017.json"
    run.config_file.write_text(
        f"model = {{}}\ntest_evaluator = {{'type': 'DetectionDump', 'ann_file': {annotations!r}}}\n"
    )
    return run


def start(run: RunDirectory) -> None:
    """As the worker does first."""
    run.environment_file.write_text(json.dumps({"training": [{"git": {"commit": "abc123", "dirty": True}}]}))


def finish(run: RunDirectory, ap: float = 0.4) -> None:
    start(run)
    result = {"run_id": run.run_id, "metrics": {"AP": ap, "AP50": 0.7, "APL": None, "NR": 0.91234},
              "train_seconds": 1800.0, "evaluation_seconds": 1.0, "steps": 100, "step_seconds": 0.123456,
              "peak_memory_mb": 90, "parameters": 1000, "files": {}, "finished": iso(200)}  # fmt: skip
    run.result_file.write_text(json.dumps(result))


def write_annotations(workspace: Workspace) -> None:
    """Three images of one category: one object; two that overlap by IoU 0.6; 31 apart from each other."""
    boxes = {1: [(10, 10, 20, 20)], 2: [(0, 0, 40, 40), (0, 10, 40, 40)]}
    boxes[3] = [(40 * (index % 8), 40 * (index // 8), 20, 20) for index in range(31)]
    content = {
        "images": [
            {"id": image, "file_name": f"{image}.jpg", "width": 400, "height": 400} for image in boxes
        ],
        "categories": [{"id": 1, "name": "disc"}],
        "annotations": [],
    }
    for image, found in boxes.items():
        for box in found:
            identifier = len(content["annotations"]) + 1
            content["annotations"].append(
                {"id": identifier, "image_id": image, "category_id": 1, "bbox": list(box), "iscrowd": 0,
                 "area": box[2] * box[3]}
            )  # fmt: skip
    file = workspace.data / "shapes-1" / "annotations" / "instances_val2017.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))


def detect(run: RunDirectory, boxes: Sequence[tuple[int, float, tuple[float, float, float, float]]]) -> None:
    """Write detections: image, score, box."""
    rows = [(image, 1, score, *box) for image, score, box in boxes]
    columns = ["image_id", "category_id", "score", "x", "y", "w", "h"]
    pd.DataFrame(rows, columns=columns).astype({"score": float}).to_parquet(run.detections_file)


def write_study(workspace: Workspace, trials: list[dict[str, Any]], name: str = "tpe") -> None:
    """A study's folder as its driver leaves it."""
    folder = workspace.runs / "studies" / f"{name}-mini"
    folder.mkdir(parents=True, exist_ok=True)
    about = {"name": name, "preset": "mini", "method": "ltm", "split": "holdout",
             "objectives": [{"metric": "AP", "direction": "maximize"}], "sampler": {"name": "tpe", "seed": 0},
             "pruner": {"name": "median"}, "space": {"K": {}, "beta": {}}}  # fmt: skip
    (folder / "study.json").write_text(json.dumps(about))
    (folder / "trials.json").write_text(json.dumps(trials))


def trial(
    number: int, run_id: str | None, state: str = "COMPLETE", value: float | None = None
) -> dict[str, Any]:
    values = None if value is None else [value]
    return {"number": number, "state": state, "params": {"K": number}, "value": value, "values": values,
            "feasible": True, "run_id": run_id, "run_ids": [run_id] if run_id else [],
            "started": "2026-01-01T00:00:00", "ended": f"2026-01-01T00:0{number}:00"}  # fmt: skip
