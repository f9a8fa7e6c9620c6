"""A run with a damaged file costs itself: it is named once, and the runs behind it in the list are sent."""

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from suite.errors import SuiteError
from suite.runs.directory import RunDirectory
from suite.tracking.background import BackgroundMirror
from suite.tracking.damage import Unsendable, reading
from suite.tracking.mlflow_mirror import Mirror
from suite.tracking.store import tracking_uri
from suite.tracking.sync import sync_all
from suite.workspace import Workspace

from .run_files import detect, finish, iso, make_run, trial, write_annotations, write_lines, write_study


def cut(file: Path, size: int = 60) -> None:
    """What a full disk leaves of a file that was not written atomically."""
    file.write_bytes(file.read_bytes()[:size])


def scramble(file: Path) -> None:
    """Other bytes, in as many lines of the same lengths."""
    file.write_bytes(bytes(byte if byte == ord("\n") else byte ^ 128 for byte in file.read_bytes()))


def change(file: Path, *keys: str, value: Any = None) -> None:
    """Set a value deep in a JSON file, or remove it."""
    content = json.loads(file.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    file.write_text(json.dumps(content))


def add_line(file: Path, **values: Any) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(values) + "\n")


def glue(file: Path) -> None:
    """Two lines in one: of the first, only the beginning."""
    first, *others = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first[:20] + b"".join(others))


def sample(run: RunDirectory) -> Path:
    file = run.path / "system.jsonl"
    for step in (1, 2):
        add_line(file, time=iso(step), step=step, cpu_percent=90.0)
    return file


DAMAGES: dict[str, tuple[str, Callable[[RunDirectory], object]]] = {
    "spec cut": ("spec.json", lambda run: cut(run.spec_file)),
    "spec scrambled": ("spec.json", lambda run: scramble(run.spec_file)),
    "spec without a dataset": ("spec.json", lambda run: change(run.spec_file, "dataset", "fingerprint")),
    "spec with a list of options": ("spec.json", lambda run: change(run.spec_file, "options", value=[1])),
    "metrics glued": ("metrics.jsonl", lambda run: glue(run.metrics_file)),
    "metrics scrambled": ("metrics.jsonl", lambda run: scramble(run.metrics_file)),
    "metrics without a time": ("metrics.jsonl", lambda run: add_line(run.metrics_file, step=9, loss=1.0)),
    "metrics without a step": (
        "metrics.jsonl", lambda run: add_line(run.metrics_file, time=iso(9), loss=1.0),
    ),
    "a name that MLflow refuses": (
        "", lambda run: add_line(run.metrics_file, time=iso(9), step=9, **{"loss\u20ac": 1.0}),
    ),
    "system glued": ("system.jsonl", lambda run: glue(sample(run))),
    "system without a time": ("system.jsonl", lambda run: add_line(run.path / "system.jsonl", step=1)),
    "environment cut": ("environment.json", lambda run: cut(run.environment_file, 9)),
    "environment a list": ("environment.json", lambda run: run.environment_file.write_text("[]")),
    "environment with a number": (
        "environment.json", lambda run: change(run.environment_file, "training", value=7),
    ),
    "result without an end": ("result.json", lambda run: change(run.result_file, "finished")),
    "result with a text": ("result.json", lambda run: change(run.result_file, "steps", value="many")),
    "detections cut": ("detections.parquet", lambda run: cut(run.detections_file)),
    "detections scrambled": ("detections.parquet", lambda run: scramble(run.detections_file)),
}  # fmt: skip


@pytest.fixture
def runs(workspace: Workspace) -> dict[str, RunDirectory]:
    """A run for each damage, and after them two that are whole as far as the mirror reads."""
    write_annotations(workspace)
    made = {}
    for number, name in enumerate([*DAMAGES, "no damage", "damage that the mirror does not read"]):
        run = made[name] = make_run(workspace, f"run{number:02}-s0", seed=number)
        write_lines(run, 1, 3)
        detect(run, [(2, 0.8, (0, 0, 40, 40))])
        finish(run)
        if name in DAMAGES:
            DAMAGES[name][1](run)
    made["damage that the mirror does not read"].assignment_file.write_bytes(b"\xff\n\x00\n")
    return made


def finished(workspace: Workspace) -> set[str]:
    client = MlflowClient(tracking_uri(workspace))
    experiment = client.get_experiment_by_name("mini")
    if experiment is None:
        return set()
    found = client.search_runs([experiment.experiment_id], "tags.`suite.kind` = 'run'")
    return {run.data.tags["suite.run_id"] for run in found if "AP_dense" in run.data.metrics}


def named(lines: list[str], runs: dict[str, RunDirectory]) -> dict[str, int]:
    """How many lines name the run and the file of each damage."""
    return {
        name: sum(str(runs[name].path / file) in line for line in lines)
        for name, (file, _) in DAMAGES.items()
    }


def whole(runs: dict[str, RunDirectory]) -> set[str]:
    return {run.run_id for name, run in runs.items() if name not in DAMAGES}


def test_the_mirror_beside_the_trainings(workspace: Workspace, runs: dict[str, RunDirectory]) -> None:
    out = Console(file=io.StringIO(), width=1000)
    with BackgroundMirror(workspace, list(runs.values()), out, interval=0.1, patience=120):
        deadline = time.monotonic() + 60
        while not whole(runs) <= finished(workspace) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # more looks, which warn of nothing new
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert named(lines, runs) == dict.fromkeys(DAMAGES, 1), lines
    assert len(lines) == len(DAMAGES)
    assert finished(workspace) == whole(runs)


def test_the_sync_of_the_whole_workspace(workspace: Workspace, runs: dict[str, RunDirectory]) -> None:
    counts = sync_all(workspace)
    assert named(counts.skipped, runs) == dict.fromkeys(DAMAGES, 1), counts.skipped
    assert len(counts.skipped) == len(DAMAGES)
    assert finished(workspace) == whole(runs)


def test_a_run_that_is_mended_is_sent(workspace: Workspace) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 3)
    finish(run)
    glue(run.metrics_file)
    mirror = Mirror(workspace)
    with pytest.raises(Unsendable, match=r"metrics\.jsonl:1: not valid JSON"):
        mirror.sync(run)
    write_lines(run, 1, 3)
    assert mirror.sync(run) == "created"


def test_a_study_with_an_odd_trial_costs_itself_and_the_runs_of_its_trials(workspace: Workspace) -> None:
    odd, other = make_run(workspace, "odd-s0-1"), make_run(workspace, "other-s0-1", seed=1)
    finish(odd)
    finish(other)
    write_study(workspace, [{**trial(0, "odd-s0-1", value=1.0), "ended": "yesterday"}])
    counts = sync_all(workspace)
    assert counts.created == 1
    assert all("trials.json: not as the suite writes it" in line for line in counts.skipped)
    out = Console(file=io.StringIO(), width=1000)
    study = workspace.runs / "studies" / "tpe-mini"
    with BackgroundMirror(workspace, [other], out, interval=0.1, study=study):
        time.sleep(1)
    assert isinstance(out.file, io.StringIO)
    assert out.file.getvalue().count("warning: MLflow: tpe-mini is left out") == 1


def test_a_store_whose_lock_cannot_be_made_is_not_the_runs_fault(workspace: Workspace) -> None:
    finish(make_run(workspace))
    (workspace.root / "mlflow.db.lock").mkdir()
    with pytest.raises(SuiteError, match=r"MLflow at .*cannot work in this folder"):
        sync_all(workspace)


def test_whatever_reading_raises_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(Unsendable, match=r"x\.json: not as the suite writes it \(RecursionError: deep\)"),
        reading(tmp_path / "x.json"),
    ):
        raise RecursionError("deep")
