"""How long runs use the machine: sampled by the driver into ``runs/<run_id>/system.jsonl``."""

import contextlib
import csv
import datetime
import subprocess
import time
from pathlib import Path
from typing import Any

from suite.files import append_json_line
from suite.runs.directory import RunDirectory

LONG_SECONDS = 300.0
"""Runs younger than this are not sampled: their curves say enough."""

INTERVAL_SECONDS = 30.0
_MIB = 2**20


def system_file(run: RunDirectory) -> Path:
    """Where a run's samples are; absent for short runs, and for runs on another machine than the driver's."""
    return run.path / "system.jsonl"


class SystemSampler:
    """Samples the processes of runs that train on this machine: the worker of each and all its children.

    A sample is a line of ``system.jsonl``: ``time``; ``step``, the training's last logged step;
    ``cpu_percent`` of one core since the sample before (200: two cores are busy); ``memory_mb``, resident
    memory, in which what processes share is counted once per process; on NVIDIA GPUs ``gpu_percent``, mean
    utilisation of the GPUs that the run uses (by whomever), and ``gpu_memory_mb``, its own memory on them.
    Sampling only reads.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, dict[int, float]]] = {}

    def sample(self, run: RunDirectory) -> None:
        """Append a sample of a run if it trains here, is long, and its last sample is old enough."""
        now = time.monotonic()
        before, spent_before = self._last.get(run.run_id, (-INTERVAL_SECONDS, {}))
        progress = run.progress()
        if now - before < INTERVAL_SECONDS or progress is None or not run.is_locked():
            return
        spent, memory = _usage(_processes_of(run))
        self._last[run.run_id] = (now, spent)
        if not spent or not spent_before:
            return  # utilisation needs two looks
        # What was spent by processes that ended in between is not known.
        seconds = sum(value - spent_before[pid] for pid, value in spent.items() if pid in spent_before)
        line: dict[str, Any] = {
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "step": progress.step,
            "cpu_percent": round(100 * seconds / (now - before), 1),
            "memory_mb": round(memory / _MIB, 1),
            **_gpus(set(spent)),
        }
        append_json_line(system_file(run), line)


def _processes_of(run: RunDirectory) -> list[Any]:
    """The worker of a run and its children; empty while the worker is younger than LONG_SECONDS."""
    import psutil  # type: ignore[import-untyped]

    wanted = {str(run.path), str(run.path.resolve())}
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "suite.training.worker" in command and wanted & set(command):
            with contextlib.suppress(psutil.Error):  # it has just ended
                is_long = time.time() - process.create_time() >= LONG_SECONDS
                return [process, *process.children(recursive=True)] if is_long else []
    return []


def _usage(processes: list[Any]) -> tuple[dict[int, float], int]:
    """CPU seconds by process id, and resident bytes in all."""
    import psutil

    spent, memory = {}, 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            spent[process.pid] = times.user + times.system
            memory += process.memory_info().rss
    return spent, memory


def _gpus(pids: set[int]) -> dict[str, float]:
    """``gpu_percent`` and ``gpu_memory_mb`` of the GPUs that these processes use; empty without any."""
    own = {str(pid) for pid in pids}
    apps = [row for row in _nvidia("compute-apps", "pid,gpu_uuid,used_memory") if row[0] in own]
    busy = {row[0]: float(row[1]) for row in _nvidia("gpu", "uuid,utilization.gpu")}
    used = {row[1] for row in apps if row[1] in busy}
    if not used:
        return {}
    return {
        "gpu_percent": round(sum(busy[uuid] for uuid in used) / len(used), 1),
        "gpu_memory_mb": round(sum(float(row[2]) for row in apps), 1),
    }


def _nvidia(what: str, fields: str) -> list[list[str]]:
    """Rows of nvidia-smi's answer, without those it has no value for; empty where it is absent or fails."""
    command = ["nvidia-smi", f"--query-{what}={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in row] for row in csv.reader(done.stdout.splitlines())]
    return [row for row in rows if row and not any("[" in cell for cell in row)]  # [N/A], [Not Supported]
