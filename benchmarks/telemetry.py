"""What the assignment telemetry costs: seconds of one look against seconds of the steps between two looks.

Trains a few epochs of a preset with AssignmentHook looking every few steps, to have several looks to take the
median of; the share is that of the preset's own interval. The first look also loads the images, once a
training, and is told apart.

    python benchmarks/telemetry.py --preset mini --methods retinanet,ltm --epochs 2
"""

import argparse
import contextlib
import json
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import RUNNERS

from suite.data.dataset import Dataset, describe, prepare
from suite.files import read_json_lines
from suite.machine import cpu_count, git_commit
from suite.runs.configs import preset_info
from suite.runs.directory import RunDirectory
from suite.runs.options import spec_at
from suite.runs.resolve import config_source, resolve
from suite.training.worker import load_config
from suite.workspace import Workspace

PROJECT = Path(__file__).resolve().parent.parent
LOOK_EVERY = 24


def measure(method: str, preset: str, dataset: Dataset, epochs: int) -> dict[str, Any]:
    """Train ``method`` for some epochs; seconds of a look and of a step, and the first as a share."""
    config = resolve(spec_at(method, preset, 0), dataset)
    config["train_cfg"]["max_epochs"] = epochs
    hooks = {hook["type"]: hook for hook in config["custom_hooks"]}
    hook, log = hooks["AssignmentHook"], hooks["RunLogHook"]
    interval = hook.get("interval", 500)
    hook["interval"], log["interval"] = LOOK_EVERY, 1
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        run = RunDirectory(Path(folder))
        run.config_file.write_text(config_source(config))
        RUNNERS.build(load_config(run, launcher="none")).train()
        looks = [line["seconds"] for line in read_json_lines(run.assignment_file)]
        # A line a step, most of them without a look: their median has none.
        lines = [line for line in read_json_lines(run.metrics_file) if "step_seconds" in line]
        step = statistics.median(line["step_seconds"] for line in lines)
    look = statistics.median(looks[1:])
    return {
        "interval": interval,
        "images": hook.get("images", 16),
        "look seconds": round(look, 4),
        "step seconds": round(step, 4),
        "look / steps of an interval": round(look / (interval * step), 5),
        "first look seconds": looks[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--methods", default="retinanet,ltm")
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    info = preset_info(arguments.preset)
    torch.set_num_threads(info["cpus"])
    dataset = describe(info["dataset"], Workspace(PROJECT).data)
    prepare(dataset)
    result = {
        "preset": arguments.preset,
        "methods": {
            method: measure(method, arguments.preset, dataset, arguments.epochs)
            for method in arguments.methods.split(",")
        },
        "machine": f"{platform.processor() or platform.machine()}, {cpu_count():g} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": git_commit(PROJECT),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
