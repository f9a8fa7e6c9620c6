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
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.machine import cpu_count
from suite.runs.directory import RunDirectory
from suite.runs.process_failures import first_failure
from suite.scheduling.child import record_failure, run_child
from suite.scheduling.executor import (
    BUSY,
    CANCELLED,
    Command,
    Executor,
    Job,
    Outcome,
    Part,
    command,
    fitted,
    machines_of,
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
    references: list[Any]
    """Of its tasks: one, or one for each machine that the run spans."""
    log_bytes: int
    """Size of the log at submission: a larger one means that the run has started."""
    cancelled: bool = False
    group: Any = None
    """The placement group that holds a run's machines together."""
    ended: list[Outcome] = field(default_factory=list)
    """Outcomes of the tasks that have ended, in that order."""


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

    A run on more GPUs than one node has spans several, with equally many GPUs on each: one task and one
    torchrun per node, in a placement group that is granted as a whole. If one fails, the others are ended.
    Such a run is not started again when a node is lost: the same command resumes it.

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
        machines = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]
        job = fitted(job, machines)
        refuse_impossible(
            job,
            machines,
            "Choose a smaller preset, or fewer GPUs per run (GPUS=...), or a larger machine or cluster.",
            may_span=True,
        )
        entry = _Entry(job, [], _size(RunDirectory(job.directory).log_file))
        count = machines_of(job.gpus, machines) if job.gpus > 1 else 1
        if count is not None and count > 1:
            self._span(entry, count, machines)
        else:
            options = {"num_cpus": job.cpus, "num_gpus": job.gpus, "max_retries": _SYSTEM_RETRIES}
            task = self._task.options(name=job.run_id, retry_exceptions=False, **options)
            entry.references.append(task.remote(job, self._command, self._cwd))
        self._entries[job.run_id] = entry

    def _span(self, entry: _Entry, count: int, machines: list[tuple[float, float]]) -> None:
        """Start a run's tasks on ``count`` nodes, as soon as all of them have room."""
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        job = entry.job
        share = fitted(replace(job, cpus=job.cpus / count, gpus=job.gpus / count), machines)
        bundles = [{"CPU": share.cpus, "GPU": share.gpus}] * count
        entry.group = placement_group(bundles, strategy="STRICT_SPREAD", name=job.run_id)

        def at(index: int) -> Any:
            return PlacementGroupSchedulingStrategy(
                placement_group=entry.group, placement_group_bundle_index=index
            )

        # What a task returns is resolved before the next one starts: all wait for the first node's port.
        meeting = (
            self._ray.remote(_meeting_point)
            .options(num_cpus=0, max_retries=0, scheduling_strategy=at(0))
            .remote()
        )
        for index in range(count):
            task = self._ray.remote(_run_part).options(
                name=f"{job.run_id} {index}", num_cpus=share.cpus, num_gpus=share.gpus, max_retries=0,
                scheduling_strategy=at(index),
            )  # fmt: skip
            entry.references.append(task.remote(share, index, count, meeting, self._command, self._cwd))

    def next_outcome(self, timeout: float | None = None) -> Outcome | None:
        if not self._entries:
            return None
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            references = {one: entry for entry in self._entries.values() for one in entry.references}
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _ = self._ray.wait(list(references), num_returns=1, timeout=left)
            if not ready:
                return None
            entry = references[ready[0]]
            outcome = self._outcome(entry, ready[0])
            entry.references.remove(ready[0])
            entry.ended.append(outcome)
            if not entry.references:
                break
            if not outcome.ok:  # the run's other machines would wait for this one
                for reference in entry.references:
                    self._ray.cancel(reference)
        outcome = self._whole(entry)
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
            for reference in entry.references:
                # Not by force: the task then kills the run's processes itself before it ends.
                self._ray.cancel(reference)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for run_id in self._entries:
            self.cancel(run_id)
        references = [one for entry in self._entries.values() for one in entry.references]
        if references:
            self._ray.wait(references, num_returns=len(references), timeout=_CLOSE_SECONDS)
        self._entries.clear()
        self._ray.shutdown()
        self._remove_temporary()

    def _whole(self, entry: _Entry) -> Outcome:
        """The outcome of a run whose tasks have all ended: the first failure, where there is one."""
        if entry.group is not None:
            from ray.util.placement_group import remove_placement_group

            remove_placement_group(entry.group)
            failed = [outcome for outcome in entry.ended if not outcome.ok]
            # The nodes share the run directory: what the first process to fail left there says most.
            told = first_failure(RunDirectory(entry.job.directory)) if failed else None
            if told is not None and not entry.cancelled and not told.busy and not told.lost_touch:
                return Outcome(entry.job.run_id, ok=False, reason=told.reason)
            return failed[0] if failed else entry.ended[0]
        return entry.ended[0]

    def _outcome(self, entry: _Entry, reference: Any) -> Outcome:
        run_id = entry.job.run_id
        try:
            outcome: Outcome = self._ray.get(reference)
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


def _meeting_point() -> tuple[str, int]:
    """Address of this node, and a port that is free on it."""
    import ray.util

    with socket.socket() as probe:
        probe.bind(("", 0))
        return ray.util.get_node_ip_address(), probe.getsockname()[1]


def _run_part(
    job: Job, index: int, count: int, meeting: tuple[str, int], command: Command, cwd: Path
) -> Outcome:
    """Carry out one machine's part of a run."""
    return run_child(replace(job, part=Part(index, count, *meeting)), command, cwd)


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
