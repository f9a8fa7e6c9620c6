"""Runs as Ray core tasks, one child process per run: this machine or a cluster.

Ray Train and Ray Tune are not used: Train costs 18 s per run and initialises torch.distributed even for one
worker; a plain task around a child process costs next to nothing and leaves the child on its main thread.
"""

import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.machine import cpu_count
from suite.runs.directory import RunDirectory
from suite.scheduling.child import record_failure, run_child
from suite.scheduling.executor import (
    BUSY,
    CANCELLED,
    Command,
    Executor,
    Job,
    Outcome,
    command,
    refuse_impossible,
)

_OBJECT_STORE_BYTES = 100_000_000  # tasks exchange a few hundred bytes; Ray's own minimum is 75 MB
_SYSTEM_RETRIES = 2
_CLOSE_SECONDS = 10.0
_CONNECT_SECONDS = 10.0


@dataclass
class _Entry:
    """A job that has not ended."""

    job: Job
    reference: Any
    log_bytes: int
    """Size of the log at submission: a larger one means that the run has started."""
    cancelled: bool = False


class RayExecutor(Executor):
    """Starts runs as Ray tasks.

    Without ``address`` it starts a Ray of its own on this machine, and stops it in :meth:`close`. It never
    joins a cluster that happens to run: a bare ``ray.init()`` would. Such a Ray listens on the machine's
    network address, so it is guarded by a random token that lives in this process's environment only, unless
    the user set ``RAY_AUTH_MODE`` or a token.

    With ``address`` it joins that cluster, and only leaves it in :meth:`close`. The user's environment
    (``RAY_AUTH_MODE``, ``RAY_AUTH_TOKEN``, ``RAY_AUTH_TOKEN_PATH``) goes through untouched. Every node needs
    the suite installed, and the project's folder and its runs under the same path as here.

    A task whose Ray worker or node is lost is started again, twice at most. A run whose child fails is not.

    Args:
        address: ``HOST:PORT`` of a cluster; None starts a Ray on this machine.
        cpus: CPU cores to fill, rounded down; None for all of this machine. Without ``address`` only.
        gpus: GPUs to fill, rounded down; None for all that Ray detects. Without ``address`` only.
        command: Makes a job's command; called on the node.

    Raises:
        SuiteError: Ray does not start, or the cluster cannot be joined.
    """

    def __init__(
        self,
        address: str | None = None,
        cpus: float | None = None,
        gpus: float | None = None,
        command: Command = command,
    ) -> None:
        if address is not None:
            if cpus is not None or gpus is not None:
                raise SuiteError(
                    f"cpus={cpus}, gpus={gpus} with the Ray cluster {address}: a cluster's size is its own.",
                    "Leave out either the address or the sizes.",
                )
            _check_address(address)
        self._command = command
        self._cwd = Path.cwd()
        self._entries: dict[str, _Entry] = {}
        self._closed = False
        self._temporary: Path | None = None
        if address is None:
            _set_environment_of_own_ray()
        import ray

        self._ray = ray
        options: dict[str, Any] = {
            "namespace": "suite",
            "log_to_driver": False,
            "logging_level": logging.ERROR,
        }
        if address is None:
            # /tmp, not TMPDIR: Ray's socket paths must stay below 107 characters.
            self._temporary = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
            options |= {
                # Ray counts a machine's CPUs and GPUs in whole numbers; those of a task may be fractions.
                "num_cpus": max(1, int(cpu_count() if cpus is None else cpus)),
                "num_gpus": None if gpus is None else int(gpus),
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "_temp_dir": str(self._temporary),
            }
        try:
            ray.init(address=address or "local", **options)
        except Exception as error:  # Ray raises many kinds, depending on the part that did not start
            self._remove_temporary()
            where = "on this machine" if address is None else f"cluster {address}"
            raise SuiteError(
                f"Ray, {where}: {_one_line(error)}",
                "Check the address, or use the local executor, which needs no Ray.",
            ) from error
        self._task = ray.remote(run_child)

    def submit(self, job: Job) -> None:
        if self._closed or job.run_id in self._entries:
            raise ValueError(f"{job.run_id}: executor closed, or the run has not ended yet")
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        refuse_impossible(
            job,
            [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes],
            "Choose a smaller preset, ask for less with --cpus or --gpus, or use a larger machine.",
        )
        options = {"num_cpus": job.cpus, "num_gpus": job.gpus, "max_retries": _SYSTEM_RETRIES}
        task = self._task.options(name=job.run_id, retry_exceptions=False, **options)
        log_bytes = _size(RunDirectory(job.directory).log_file)
        self._entries[job.run_id] = _Entry(job, task.remote(job, self._command, self._cwd), log_bytes)

    def next_outcome(self, timeout: float | None = None) -> Outcome | None:
        if not self._entries:
            return None
        references = {entry.reference: entry for entry in self._entries.values()}
        ready, _ = self._ray.wait(list(references), num_returns=1, timeout=timeout)
        if not ready:
            return None
        entry = references[ready[0]]
        outcome = self._outcome(entry)
        del self._entries[entry.job.run_id]
        if not outcome.ok and outcome.reason not in (BUSY, CANCELLED):
            record_failure(entry.job, outcome.reason)
        return outcome

    def running(self) -> list[str]:
        # Which tasks run is known to Ray's dashboard only, which is off; the shared run directory knows too.
        return [
            run_id
            for run_id, entry in self._entries.items()
            if _size(RunDirectory(entry.job.directory).log_file) > entry.log_bytes
        ]

    def cancel(self, run_id: str) -> None:
        entry = self._entries.get(run_id)
        if entry is not None:
            entry.cancelled = True
            # Not by force: the task then kills the run's processes itself before it ends.
            self._ray.cancel(entry.reference)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for run_id in self._entries:
            self.cancel(run_id)
        references = [entry.reference for entry in self._entries.values()]
        if references:
            self._ray.wait(references, num_returns=len(references), timeout=_CLOSE_SECONDS)
        self._entries.clear()
        self._ray.shutdown()
        self._remove_temporary()

    def _outcome(self, entry: _Entry) -> Outcome:
        run_id = entry.job.run_id
        try:
            outcome: Outcome = self._ray.get(entry.reference)
        except self._ray.exceptions.RayError as error:
            if entry.cancelled:
                return Outcome(run_id, ok=False, reason=CANCELLED)
            return Outcome(run_id, ok=False, reason=f"Ray: {_one_line(error)}")
        if entry.cancelled and not outcome.ok:
            return Outcome(run_id, ok=False, reason=CANCELLED)
        return outcome

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _check_address(address: str) -> None:
    """Refuse an address where nothing listens: ``ray.init`` would try for minutes, and end the process.

    ``auto`` is refused too: it means whatever cluster happens to run, or ran, on this machine.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise SuiteError(
            f"Ray cluster {address!r}: expected HOST:PORT.", "`ray status` on the cluster tells it."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SuiteError(
            f"Ray cluster {address}: nothing answers there ({error}).",
            "Start it with `ray start --head`, correct the address, or leave the address out.",
        ) from error


def _set_environment_of_own_ray() -> None:
    """Set what Ray reads from the environment; what the user has set stays."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's default is nice 15: a training would yield to everything else on the machine.
        "RAY_worker_niceness": "0",
        # The coming default, chosen now to silence a warning; command() hides GPUs itself.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        settings["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        # Read when ray is imported; where that has happened, ray.init() chooses the token mode itself.
        if "ray" not in sys.modules:
            settings["RAY_AUTH_MODE"] = "token"
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _one_line(error: Exception) -> str:
    """What an error says, short: the cause comes last if it holds a traceback, first otherwise."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return repr(error)
    return lines[-1].strip() if "traceback" in str(error).lower() else lines[0].strip()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
