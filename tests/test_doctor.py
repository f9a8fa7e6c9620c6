import dataclasses
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from rich.console import Console

from suite import doctor
from suite.data.dataset import Dataset
from suite.doctor import Check, checks, probe
from suite.errors import SuiteError
from suite.workspace import Workspace

CPU = {"cpus": 1, "gpus": 0, "seeds": [0], "disk_mb_per_run": 30}
GPUS = {**CPU, "gpus": 8}
TORCH = {"ok": True, "version": "2.13.0+cpu", "cuda": None, "gpus": []}


@pytest.fixture
def judge(tmp_path: Path, dataset: Dataset) -> Callable[..., dict[str, Check]]:
    """Check name -> check, for a preset, what was probed, and the data."""

    def run(preset: dict[str, Any] = CPU, probed: Any = None, data: Any = dataset, runs: int = 8) -> Any:
        found = checks(preset, data, Workspace(tmp_path), probed or {"torch": TORCH}, runs, 30.0)
        return {check.name: check for check in found}

    return run


def test_a_cpu_preset_needs_no_gpu(judge: Callable[..., dict[str, Check]]) -> None:
    found = judge()
    assert all(check.ok for check in found.values())
    assert found["gpu"].detail == "not needed (none found)"
    assert "drawn by the first command" in found["data"].detail


@pytest.mark.parametrize(
    ("torch", "remedy"),
    [
        (TORCH, "TORCH_INDEX"),
        ({**TORCH, "cuda": "13.0"}, "nvidia-smi"),
        ({**TORCH, "cuda": "13.0", "gpus": ["H200"] * 4}, "nvidia-smi"),
        ({"ok": False, "error": "ImportError: x"}, "nvidia-smi"),
    ],
)
def test_too_few_gpus(judge: Callable[..., dict[str, Check]], torch: dict[str, Any], remedy: str) -> None:
    found = judge(GPUS, {"torch": torch})
    assert not found["gpu"].ok
    assert "8 needed" in found["gpu"].detail
    assert remedy in found["gpu"].remedy


def test_enough_gpus(judge: Callable[..., dict[str, Check]]) -> None:
    found = judge(GPUS, {"torch": {**TORCH, "cuda": "13.0", "gpus": ["H200"] * 8}})
    assert found["gpu"].ok
    assert found["gpu"].detail == "8 x H200; 8 needed"


def test_missing_operators_say_how_to_compile_them(judge: Callable[..., dict[str, Check]]) -> None:
    error = "ModuleNotFoundError: No module named 'mmcv._ext'"
    found = judge(CPU, {"torch": TORCH, "mmcv operators": {"ok": False, "error": error}})
    assert found["mmcv operators"] == Check("mmcv operators", False, error, doctor.REBUILD)


def test_cores_are_those_that_a_container_may_use(
    judge: Callable[..., dict[str, Check]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(doctor, "cpu_count", lambda: 2.0)
    assert judge({**CPU, "cpus": 2})["cpu"] == Check("cpu", True, "2 cores, 2 per run", ANY)
    assert not judge({**CPU, "cpus": 12})["cpu"].ok
    assert judge({**GPUS, "cpus": 24})["cpu"].ok  # GPUs train with as many loader workers as there are cores


def test_disk_too_small(judge: Callable[..., dict[str, Check]]) -> None:
    found = judge(CPU, runs=10**9)
    assert not found["disk"].ok
    assert "GB free" in found["disk"].detail


def test_data_that_cannot_be_used(
    judge: Callable[..., dict[str, Check]], dataset: Dataset, tmp_path: Path
) -> None:
    found = judge(data=SuiteError("no COCO_ROOT is given.", "Give it."))
    assert found["data"] == Check("data", False, "no COCO_ROOT is given.", "Give it.")
    found = judge(data=dataclasses.replace(dataset, kind="coco"))
    assert not found["data"].ok
    assert str(dataset.train.images) in found["data"].detail


def test_a_child_that_dies_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "probe " + json.dumps(["torch", TORCH])
    monkeypatch.setattr(doctor, "PROBE", f"import os; print({answer!r}, flush=True); os.abort()")
    found = probe(gpu=False)
    assert found["torch"] == TORCH
    assert found["imports"]["ok"] is False
    assert "ended after torch" in found["imports"]["error"]


def test_a_child_that_hangs_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.5)
    assert "ended at its start: no answer in 0.5 s" in probe(gpu=False)["imports"]["error"]


@pytest.mark.parametrize("broken", [False, True])
def test_examine_prints_a_line_a_need(
    tmp_path: Path, dataset: Dataset, write_experiment, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    write_experiment("own.pair")
    ray = {"ok": False, "error": "ImportError: [x]"} if broken else {"ok": True, "version": "2.60.0"}
    monkeypatch.setattr(doctor, "probe", lambda gpu: {"torch": TORCH, "ray": ray})
    monkeypatch.setattr("suite.runs.presets.dataset_of", lambda *_: dataset)
    out = io.StringIO()
    screen = Console(file=out, width=200)
    assert doctor.examine("smoke", None, Workspace(tmp_path), screen, "own.pair") is not broken
    lines = out.getvalue().splitlines()
    assert "ok   torch: 2.13.0+cpu" in lines
    if broken:
        at = lines.index("FAIL ray: ImportError: [x]")
        assert lines[at + 1] == "     -> Run `make setup`."
    else:
        assert not [line for line in lines if "FAIL" in line or "->" in line]


@pytest.mark.slow
def test_this_environment_has_what_it_needs() -> None:
    found = probe(gpu=False)
    assert {name: value.get("error") for name, value in found.items() if not value["ok"]} == {}
    assert {"torch", "mmcv operators", "mmdet", "ray", "mlflow", "hotcoco"} == set(found)


def test_importing_the_doctor_imports_nothing_heavy() -> None:
    heavy = ("torch", "ray", "mlflow", "mmengine")
    code = f"import sys, suite.doctor; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([doctor.sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
