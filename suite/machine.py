"""What this machine gives to the suite: cores, GPUs, disk; and the state of the checkout it runs from."""

import contextlib
import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suite.errors import SuiteError

DISK_RESERVE_MB = 500
"""Room that is to stay beside the runs: for logs, reports and MLflow."""

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_ANSWER_SECONDS = 20.0


def require_linux() -> None:
    """Make sure of what the suite stands on: /proc, control groups, prctl and flock.

    Raises:
        SuiteError: The system is not Linux.
    """
    if sys.platform != "linux":
        raise SuiteError(
            f"this system is {sys.platform!r}: the suite runs on Linux only.",
            "Use a Linux machine, or Linux in a container or a virtual machine (WSL 2 on Windows).",
        )


def cpu_count() -> float:
    """CPU cores that this process may use: its affinity, cut by the quotas of its control groups."""
    return max(1.0, min([float(len(os.sched_getaffinity(0))), *_quotas()]))


def _quotas() -> Iterator[float]:
    """The quotas, in cores, of this process's control groups and of those around them."""
    own = {"": "/", "cpu": "/"}  # by controller: version 2 has one hierarchy for all, without a name
    with contextlib.suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), path))
    for root, path, quota in ((_GROUPS, own[""], _quota_v2), (_GROUPS / "cpu", own["cpu"], _quota_v1)):
        # A container may be told its path on the host, which it cannot see: its own group is then the root.
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                with contextlib.suppress(OSError, ValueError):
                    yield quota(folder)


def _quota_v2(group: Path) -> float:
    quota, period = (group / "cpu.max").read_text().split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _quota_v1(group: Path) -> float:
    quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    return math.inf if quota < 0 else quota / period


def visible_gpus() -> list[str]:
    """The devices that a run may be given: those of CUDA_VISIBLE_DEVICES, else all that nvidia-smi lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device.strip() for device in visible.split(",") if device.strip() not in ("", "-1")]
    return [str(index) for index in range(len(_gpu_listing()))]


def gpu_models() -> list[str]:
    """The different models among this machine's GPUs, as torch names them, sorted."""
    return sorted({line.partition(": ")[2].rpartition(" (")[0] for line in _gpu_listing()})


def _gpu_listing() -> list[str]:
    """A line for each GPU of nvidia-smi, like ``GPU 0: NVIDIA H200 (UUID: GPU-...)``; none without it."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_ANSWER_SECONDS
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in listing.splitlines() if line.startswith("GPU ")]


def cpu_model() -> str:
    """The CPU's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def free_disk_mb(folder: Path) -> float:
    """Free disk in MB where a folder is, which exists."""
    return shutil.disk_usage(folder).free / 1e6


def require_disk(folder: Path, runs_mb: float, runs: str, remedy: str) -> None:
    """Make sure that runs fit on the disk, with :data:`DISK_RESERVE_MB` to spare.

    Args:
        folder: Where they are written; it exists.
        runs_mb: What they need, in MB.
        runs: The runs in words, like ``4 runs``.
        remedy: What the user may do if they do not fit.

    Raises:
        SuiteError: They do not.
    """
    free, needed = free_disk_mb(folder), runs_mb + DISK_RESERVE_MB
    if free < needed:
        raise SuiteError(f"{folder}: {free:.0f} MB free, and {runs} need about {needed:.0f} MB.", remedy)


def git_state(folder: Path) -> dict[str, Any]:
    """``commit`` of the checkout around a folder, ``dirty`` if tracked files differ; None outside of one."""
    commit = _git(["rev-parse", "HEAD"], folder)
    changes = _git(["status", "--porcelain", "--untracked-files=no"], folder)
    return {"commit": commit, "dirty": None if commit is None or changes is None else bool(changes)}


def git_commit(folder: Path) -> str | None:
    """The checkout's commit in short, with ``-dirty`` if tracked files differ; None outside a checkout."""
    state = git_state(folder)
    if state["commit"] is None:
        return None
    return state["commit"][:12] + ("-dirty" if state["dirty"] else "")


def _git(arguments: list[str], folder: Path) -> str | None:
    """What git prints, stripped; None if it is absent, fails or does not end."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True,
            timeout=_ANSWER_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
