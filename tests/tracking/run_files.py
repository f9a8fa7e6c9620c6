"""A workspace with run directories as the worker leaves them."""

import datetime
import json
from typing import Any

from suite.runs import RunDirectory
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


def make_run(workspace: Workspace, name: str = "ltm-s0-abc", **options: Any) -> RunDirectory:
    run = RunDirectory(workspace.runs / name)
    run.path.mkdir(parents=True)
    config = {
        "train_dataloader": {"batch_size": 8},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.01}},
    }
    spec = {"run_id": name, "method": "ltm", "preset": "mini", "options": options, "seed": 0,
            "dataset": {"name": "shapes-1", "kind": "shapes", "fingerprint": "f"},
            "identity": {"config": config, "sources": {}, "dataset": "f", "seed": 0}}  # fmt: skip
    run.spec_file.write_text(json.dumps(spec))
    run.config_file.write_text("model = dict()\n")
    run.environment_file.write_text(json.dumps({"git": {"commit": "abc123", "dirty": True}}))
    return run


def finish(run: RunDirectory, ap: float = 0.4) -> None:
    result = {"run_id": run.run_id, "metrics": {"AP": ap, "AP50": 0.7, "APL": None}, "train_seconds": 10.0,
              "evaluation_seconds": 1.0, "steps": 100, "step_seconds": 0.1, "peak_memory_mb": 90,
              "parameters": 1000, "files": {}, "finished": iso(200)}  # fmt: skip
    run.result_file.write_text(json.dumps(result))
