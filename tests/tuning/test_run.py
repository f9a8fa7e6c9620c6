"""`suite tune` from the command to the report, with scripts as trials; and the dashboard."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from suite.errors import SuiteError
from suite.experiments.tuned import load_best
from suite.files import read_json
from suite.runs.directory import RunDirectory
from suite.scheduling import LocalExecutor, executors
from suite.tracking import background
from suite.tuning.run import tune
from suite.workspace import Workspace

from .cases import VALUE, Script, printed, quiet, write_study

HELD = {"split": "holdout", "holdout": {"fraction": 0.25, "at_most": 100, "seed": 0}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated images of preset smoke, drawn once."""
    return tmp_path_factory.mktemp("data")


class _NoMirror(contextlib.nullcontext):  # type: ignore[type-arg]
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(self)
        self.runs: list[RunDirectory] = []

    def add(self, run: RunDirectory) -> None:
        self.runs.append(run)


@pytest.fixture
def tune_here(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, str]]:
    """Runs ``suite tune tiny``; gives whether there is a best trial, and what was printed."""
    (tmp_path / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(background, "BackgroundMirror", _NoMirror)

    def run(body: str = VALUE, study: str = "tiny", **given: Any) -> tuple[bool, str]:
        script = Script(tmp_path, body)
        monkeypatch.setattr(
            executors, "make_executor", lambda *_, **__: LocalExecutor(cpus=2, gpus=0, command=script)
        )
        arguments: dict[str, Any] = {
            "preset": None, "trials": None, "parallel": None, "storage": None, "coco_root": None,
            "executor": "local", "address": None, "cpus": None, "gpus": None, **given,
        }  # fmt: skip
        out = quiet()
        return tune(study, Workspace(tmp_path), out, **arguments), printed(out)

    return run


def test_from_a_name_to_a_report(tune_here: Callable[..., tuple[bool, str]], tmp_path: Path) -> None:
    write_study(tmp_path, **HELD)
    ok, text = tune_here(trials=3)
    assert ok
    assert "0 of 3 trials ended, 2 at a time" in text
    assert "8 of the 32 training images, held out" in text
    best = load_best(tmp_path / "reports" / "smoke" / "studies" / "tiny" / "best.yaml")
    assert (best.split, best.trials.total) == ("holdout", 3)
    assert f"Best: trial {best.trial}: step_seconds {best.value:.4g}" in text
    about = read_json(tmp_path / "runs" / "studies" / "tiny-smoke" / "study.json")
    assert (about["name"], about["preset"], about["method"]) == ("tiny", "smoke", "ltm")
    spec = RunDirectory(tmp_path / "runs" / best.run_ids[0]).spec()
    assert spec["dataset"]["fingerprint"] == best.dataset == about["dataset"]["fingerprint"]
    config = RunDirectory(tmp_path / "runs" / best.run_ids[0]).config_file.read_text()
    assert "holdout8-s0" in config and "val2017.json" in config
    ok, text = tune_here(trials=5)
    assert ok and "3 of 5 trials ended" in text


def test_tuning_on_the_reported_split_is_said_aloud(
    tune_here: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    write_study(tmp_path)
    _, text = tune_here(trials=1)
    assert "val, the split that tables report" in text


def test_a_study_without_a_best_trial_ends_badly(
    tune_here: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    write_study(tmp_path, constraints=[{"metric": "peak_memory_mb", "at_most": 1}])
    ok, text = tune_here(trials=2)
    assert not ok
    assert "No trial is complete and keeps the constraints" in text


def test_any_database_holds_the_trials(tune_here: Callable[..., tuple[bool, str]], tmp_path: Path) -> None:
    write_study(tmp_path)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    tune_here(trials=2, storage=url)
    ok, text = tune_here(trials=4, storage=url)
    assert ok and "2 of 4 trials ended" in text
    assert not (tmp_path / "runs" / "studies" / "tiny-smoke" / "journal.log").exists()


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        (
            {"objectives": [{"metric": "APL", "direction": "maximize"}]},
            {},
            "preset 'smoke' does not produce it",
        ),
        ({}, {"preset": "smoky"}, "preset 'smoky' is unknown"),
        ({}, {"storage": "postgresql://127.0.0.1:9/x"}, "nothing answers"),
        ({}, {"study": "tinny"}, "Did you mean 'tiny'"),
        (
            {"space": {"K": {"type": "int", "low": 1, "high": 6}}, "sampler": {"name": "grid", "seed": 0}},
            {"trials": 7},
            "has 6 points",
        ),
    ],
)
def test_refused_before_any_trial(
    tune_here: Callable[..., tuple[bool, str]],
    tmp_path: Path,
    changes: dict[str, Any],
    given: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "objectives" in changes:  # no image of the split has a large object
        monkeypatch.setattr("suite.tuning.study_plan.undefined", lambda truth, metric: metric == "APL")
    write_study(tmp_path, **changes)
    with pytest.raises(SuiteError, match=message):
        tune_here(**given)
    assert not list((tmp_path / "runs").glob("ltm-*"))


def test_the_command_refuses_with_exit_code_2(tmp_path: Path) -> None:
    path = write_study(tmp_path, space={"bta": {"type": "int", "low": 1, "high": 2}})
    done = subprocess.run(
        [sys.executable, "-m", "suite.cli", "tune", "tiny"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(executors.__file__).parents[2])}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path}:{_line(path, 'bta')}: field space.bta:")
    assert not (tmp_path / "runs").exists()


def _line(path: Path, name: str) -> int:
    lines = path.read_text().splitlines()
    return 1 + next(index for index, line in enumerate(lines) if line.strip() == f"{name}:")


@pytest.fixture
def dashboard(tune_here: Callable[..., tuple[bool, str]], tmp_path: Path) -> Iterator[str]:
    write_study(tmp_path)
    tune_here(trials=2)
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "suite.cli", "tune", "tiny", "--dashboard", "--port", str(port)], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(executors.__file__).parents[2])},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_the_dashboard_shows_the_study_on_loopback(dashboard: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 40
    while True:
        try:
            answer = direct.open(f"{dashboard}/api/studies", timeout=5).read().decode()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert '"tiny-smoke"' in answer


def test_no_dashboard_of_a_study_that_has_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from suite.tuning.dashboard import serve

    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match="has not begun at preset 'smoke'"):
        serve("tiny", None, None, Workspace(tmp_path), quiet(), storage=None, port=8080)


@pytest.mark.slow
def test_real_smoke_trials(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(background, "BackgroundMirror", _NoMirror)
    write_study(tmp_path, **HELD, objectives=[{"metric": "AP", "direction": "maximize"}], trials=2)
    out = quiet()
    ok = tune(
        "tiny", Workspace(tmp_path), out, preset=None, trials=None, parallel=None, storage=None,
        coco_root=None, executor="local", address=None, cpus=None, gpus=None,
    )  # fmt: skip
    assert ok, printed(out)
    trials = read_json(tmp_path / "runs" / "studies" / "tiny-smoke" / "trials.json")
    for trial in trials:
        assert trial["state"] == "COMPLETE"
        assert list(trial["epochs"]) == ["1"]
        result = RunDirectory(tmp_path / "runs" / trial["run_id"]).result()
        assert result is not None
        assert trial["value"] == pytest.approx(100 * result["metrics"]["AP"])
