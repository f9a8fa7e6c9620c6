"""Studies whose trials are small scripts: an ordinary run directory, without a training."""

import io
import sys
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from suite.data.dataset import Dataset
from suite.scheduling import Job
from suite.tuning.study import Study, load_study
from suite.tuning.study_plan import StudyPlan
from suite.workspace import Workspace

STUDY: dict[str, Any] = {
    "name": "tiny",
    "title": "A tiny study",
    "method": "ltm",
    "preset": "smoke",
    "seeds": [0],
    "space": {"K": {"type": "int", "low": 1, "high": 40}, "beta": {"type": "float", "low": 0.1, "high": 1.0}},
    "objectives": [{"metric": "step_seconds", "direction": "minimize"}],
    "split": "val",
    "sampler": {"name": "random", "seed": 0},
    "pruner": {"name": "none"},
    "trials": 6,
    "parallel": 2,
}
TPE = {
    "name": "tpe", "seed": 0, "n_startup_trials": 3, "n_ei_candidates": 8, "multivariate": True,
    "group": False, "constant_liar": True,
}  # fmt: skip
MEDIAN = {
    "name": "median",
    "n_startup_trials": 2,
    "n_warmup_steps": 1,
    "interval_steps": 1,
    "n_min_trials": 1,
}

SCRIPT = """
import json, os, sys, time
from pathlib import Path
here = Path(sys.argv[1])
spec = json.loads((here / "spec.json").read_text())
options = spec["options"]
with open(here / "starts", "a") as file:
    file.write("again" if (here / "result.json").exists() else "start")
    file.write(chr(10))

def finish(**numbers):
    made_by = spec["identity"]["evaluation"]
    result = {"evaluation": made_by, "metrics": {}, "files": {}, **numbers}
    (here / "result.tmp").write_text(json.dumps(result))
    os.replace(here / "result.tmp", here / "result.json")

def validate(epoch, value):
    line = {"step": epoch, "epoch": epoch, "val_AP": value}
    with open(here / "metrics.jsonl", "a") as file:
        file.write(json.dumps(line) + chr(10))

def wait_for(name):
    deadline = time.monotonic() + 20
    while not (here.parent / name).exists():
        assert time.monotonic() < deadline, name
        time.sleep(0.01)
"""
VALUE = "finish(step_seconds=options['K'] + options.get('beta', 0), peak_memory_mb=10 * options['K'])"


def write_study(folder: Path, **changes: Any) -> Path:
    """Write ``experiments/studies/<name>.yaml`` below ``folder``; a value of None takes a field out."""
    values = {name: value for name, value in {**STUDY, **changes}.items() if value is not None}
    path = folder / "experiments" / "studies" / f"{values['name']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def make_plan(folder: Path, dataset: Dataset, **changes: Any) -> StudyPlan:
    """A study on a dataset that exists in name only."""
    path = write_study(folder, **changes)
    study: Study = load_study(path)
    return StudyPlan(study, path, study.preset, dataset, dataset, Workspace(folder))


class Script:
    """A command for executors: runs ``body`` in place of the worker."""

    def __init__(self, folder: Path, body: str = VALUE) -> None:
        self.path = folder / "script.py"
        self.path.write_text(SCRIPT + body)

    def __call__(self, job: Job) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-S", str(self.path), str(job.directory)], {}


def quiet() -> Console:
    """A console that prints into memory."""
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    """What a console of :func:`quiet` printed."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
