"""Runs as child processes of the driver, on this machine."""

import os
import queue
import threading
from dataclasses import dataclass
from pathlib import Path

from suite.errors import SuiteError
from suite.machine import cpu_count, visible_gpus
from suite.scheduling.child import Child, record_failure, run_child
from suite.scheduling.executor import (
    BUSY,
    CANCELLED,
    Command,
    Executor,
    Job,
    Outcome,
    command,
    fitted,
    refuse_impossible,
)


@dataclass
class _Entry:
    """A job that has not ended."""

    job: Job
    devices: dict[str, float] | None = None
    """Share of each assigned GPU; None while queued."""
    thread: threading.Thread | None = None
    child: Child | None = None
    cancelled: bool = False


class LocalExecutor(Executor):
    """Starts runs strictly in the order of submission: a large job is never overtaken, so never starves.

    Args:
        cpus: CPU cores to fill; None takes those of the machine.
        gpus: GPUs to fill, the first ones visible; None takes them all.
        command: Makes a job's command.

    Raises:
        SuiteError: ``gpus`` is not a whole number, or more than CUDA_VISIBLE_DEVICES names.
    """

    def __init__(
        self, cpus: float | None = None, gpus: float | None = None, command: Command = command
    ) -> None:
        devices = visible_gpus() if gpus is None else _first_devices(gpus)
        self._cpus = self._free_cpus = cpu_count() if cpus is None else cpus
        self._free_gpus = dict.fromkeys(devices, 1.0)
        self._command = command
        self._cwd = Path.cwd()
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}  # in order of submission
        self._outcomes: queue.Queue[Outcome] = queue.Queue()
        self._unread = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        machines = [(self._cpus, float(len(self._free_gpus)))]
        job = fitted(job, machines)
        refuse_impossible(
            job,
            machines,
            "Choose a smaller preset, or fewer GPUs per run (GPUS=...), or a larger machine; the executor "
            "ray spans several.",
        )
        with self._lock:
            if self._closed or job.run_id in self._entries:
                raise ValueError(f"{job.run_id}: executor closed, or the run has not ended yet")
            self._entries[job.run_id] = _Entry(job)
            self._unread += 1
            self._start_fitting()

    def next_outcome(self, timeout: float | None = None) -> Outcome | None:
        if self._unread == 0:
            return None
        try:
            outcome = self._outcomes.get(timeout=timeout)
        except queue.Empty:
            return None
        self._unread -= 1
        return outcome

    def running(self) -> list[str]:
        with self._lock:
            return [run_id for run_id, entry in self._entries.items() if entry.thread is not None]

    def cancel(self, run_id: str) -> None:
        with self._lock:
            entry = self._entries.get(run_id)
            if entry is None:
                return
            entry.cancelled = True
            if entry.thread is None:
                self._finish(entry, Outcome(run_id, ok=False, reason=CANCELLED))
            child = entry.child
        if child is not None:
            child.kill()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            entries = list(self._entries.values())
        for entry in reversed(entries):  # the queue first, lest it move up
            self.cancel(entry.job.run_id)
        for entry in entries:
            if entry.thread is not None:
                entry.thread.join()

    def _start_fitting(self) -> None:
        """Start queued jobs, in order, until one does not fit. The lock is held."""
        for entry in self._entries.values():
            if entry.thread is not None:
                continue
            devices = self._assign(entry.job.gpus)
            if devices is None or entry.job.cpus > self._free_cpus or self._closed:
                return
            entry.devices = devices
            self._account(entry, -1)
            entry.thread = threading.Thread(target=self._carry_out, args=(entry,), daemon=True)
            entry.thread.start()

    def _assign(self, gpus: float) -> dict[str, float] | None:
        """Shares of GPUs for a job; None if too few are free."""
        if gpus == 0:
            return {}
        if gpus < 1:  # the fullest GPU that still has room, so that whole ones stay free
            fitting = [device for device, free in self._free_gpus.items() if free >= gpus]
            return {min(fitting, key=self._free_gpus.__getitem__): gpus} if fitting else None
        whole = [device for device, free in self._free_gpus.items() if free == 1]
        return dict.fromkeys(whole[: int(gpus)], 1.0) if len(whole) >= gpus else None

    def _account(self, entry: _Entry, sign: int) -> None:
        # Rounded, so that thirds given and taken back add up to exactly one again.
        self._free_cpus = round(self._free_cpus + sign * entry.job.cpus, 6)
        for device, share in (entry.devices or {}).items():
            self._free_gpus[device] = round(self._free_gpus[device] + sign * share, 6)

    def _carry_out(self, entry: _Entry) -> None:
        """Body of a run's thread."""

        def started(child: Child) -> None:
            with self._lock:
                entry.child = child
            if entry.cancelled:
                child.kill()

        environment = {"CUDA_VISIBLE_DEVICES": ",".join(entry.devices)} if entry.devices else None
        outcome = run_child(entry.job, self._command, self._cwd, environment, started)
        if entry.cancelled and not outcome.ok:
            outcome = Outcome(entry.job.run_id, ok=False, reason=CANCELLED)
        elif not outcome.ok and outcome.reason != BUSY:
            record_failure(entry.job, outcome.reason)
        with self._lock:
            self._account(entry, +1)
            self._finish(entry, outcome)

    def _finish(self, entry: _Entry, outcome: Outcome) -> None:
        """Hand over an outcome and let the queue move up. The lock is held."""
        del self._entries[entry.job.run_id]
        self._outcomes.put(outcome)
        self._start_fitting()


def _first_devices(gpus: float) -> list[str]:
    """The first ``gpus`` devices of CUDA_VISIBLE_DEVICES, or of the machine where that is not set."""
    if gpus != int(gpus) or gpus < 0:
        raise SuiteError(f"gpus={gpus:g}: expected a whole number of GPUs to fill.")
    if os.environ.get("CUDA_VISIBLE_DEVICES") is None:
        return [str(index) for index in range(int(gpus))]
    devices = visible_gpus()
    if gpus > len(devices):
        raise SuiteError(
            f"gpus={gpus:g}, but CUDA_VISIBLE_DEVICES names {len(devices)}: {', '.join(devices) or 'none'}.",
            "Ask for fewer GPUs, or make more visible.",
        )
    return devices[: int(gpus)]
