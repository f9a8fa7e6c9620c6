import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suite.files import read_json_lines
from suite.runs.directory import RunDirectory
from suite.tracking.contents import system_points
from suite.tracking.system import SystemSampler, system_file
from suite.workspace import Workspace

from .run_files import make_run, write_lines

WORKER = """
import fcntl, sys
lock = open(sys.argv[2] + "/.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
block = bytearray(60 << 20)
print("ready", flush=True)
while True:
    pass
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = make_run(Workspace(tmp_path))
    write_lines(run, 1, 5)
    return run


@pytest.fixture
def worker(run: RunDirectory) -> Iterator[Any]:
    """A process that looks like a run's worker, and is busy."""
    command = [sys.executable, "-c", WORKER, "suite.training.worker", str(run.path.resolve())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def sample_until(run: RunDirectory, lines: int) -> list[dict[str, Any]]:
    sampler = SystemSampler()
    deadline = time.monotonic() + 20
    while len(read_json_lines(system_file(run))) < lines and time.monotonic() < deadline:
        sampler.sample(run)
        time.sleep(0.1)
    return read_json_lines(system_file(run))


def test_a_long_run_is_sampled(run: RunDirectory, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.tracking.system.LONG_SECONDS", 0.0)
    monkeypatch.setattr("suite.tracking.system.INTERVAL_SECONDS", 0.5)
    first, second = sample_until(run, 2)[:2]
    for line in (first, second):
        assert 0 < line["cpu_percent"] < 150  # one busy thread, on a machine that may be busy
        assert 60 < line["memory_mb"] < 500
        assert line["step"] == 5
    assert {name for name, *_ in system_points(first)} >= {"system/cpu_percent", "system/memory_mb"}


def test_a_short_run_is_not(run: RunDirectory, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.tracking.system.INTERVAL_SECONDS", 0.0)
    sampler = SystemSampler()
    for _ in range(3):
        sampler.sample(run)
    assert not system_file(run).exists()


def test_a_run_on_another_machine_is_not(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.tracking.system.LONG_SECONDS", 0.0)
    sampler = SystemSampler()
    sampler.sample(run)
    sampler.sample(run)
    assert not system_file(run).exists()


def test_gpus_that_the_run_uses(
    run: RunDirectory, worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.tracking.system.LONG_SECONDS", 0.0)
    monkeypatch.setattr("suite.tracking.system.INTERVAL_SECONDS", 0.2)
    script = tmp_path / "bin" / "nvidia-smi"
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f'*compute-apps*) printf "{worker.pid}, GPU-a, 1000\\n{worker.pid}, GPU-b, 500\\n1, GPU-c, 9\\n" ;;\n'
        '*) printf "GPU-a, 90\\nGPU-b, 50\\nGPU-c, 5\\nGPU-d, [N/A]\\n" ;;\n'
        "esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    (line,) = sample_until(run, 1)[:1]
    assert (line["gpu_percent"], line["gpu_memory_mb"]) == (70.0, 1500.0)
