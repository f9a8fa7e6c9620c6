"""The child process of a run: start, wait, kill, and the reason of a failure."""

import contextlib
import datetime
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from suite.errors import SuiteError
from suite.runs import directory as runs
from suite.runs.directory import RunDirectory
from suite.runs.process_failures import ProcessFailure, first_failure, forget_process_failures
from suite.scheduling.executor import BUSY, Command, Job, Outcome, is_launched

_GUARD = Path(__file__).with_name("guard.py")
_TAIL_BYTES = 1 << 16
_KILL_SECONDS = 15.0
_REASON_CHARACTERS = 2000


class Child:
    """A run's child process with everything below it, under :mod:`suite.scheduling.guard`.

    Leaving the context kills what still runs.

    Args:
        job: The run.
        command: Makes the argument vector and the additions to the environment.
        cwd: The driver's current directory, against which a config's relative paths are meant.
        environment: Variables added after the command's.

    Raises:
        SuiteError: The run directory or ``cwd`` is not on this machine.
    """

    def __init__(
        self, job: Job, command: Command, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        for folder in (job.directory, cwd):
            if not folder.is_dir():
                raise SuiteError(
                    f"{folder}: no such directory on {platform.node()}.",
                    "Keep the project and its runs on storage that all machines share, under one path.",
                )
        self._job = job
        self._run = RunDirectory(job.directory)
        self._run.clear_failure()
        if job.part is None or job.part.index == 0:
            forget_process_failures(self._run)
        argv, additions = command(job)
        with self._run.log_file.open("ab") as log:
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            log.write(f"=== {now} on {platform.node()}: {shlex.join(argv)}\n".encode())
            log.flush()
            self._log_start = log.tell()
            # Not Popen's own pipe: an exception anywhere from here on, a cancellation by Ray say, frees this
            # object, which closes the pipe and so ends the run.
            read_end, write_end = os.pipe()
            self._lifeline = os.fdopen(write_end, "wb")
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_GUARD), *argv],
                    stdin=read_end,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env={**os.environ, **additions, **(environment or {})},
                    start_new_session=True,
                )
            finally:
                os.close(read_end)

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def wait(self) -> Outcome:
        """Wait for the end of the run."""
        # With a timeout, wait() sleeps in short turns: Ray's KeyboardInterrupt for a cancelled task is not
        # a real signal and would not end one long system call.
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=3600)
                break
        failure = first_failure(self._run) if code != 0 and is_launched(self._job) else None
        if code == runs.BUSY or (failure is not None and failure.busy):
            return Outcome(self._job.run_id, ok=False, reason=BUSY)
        if code != 0:
            reason = _reason(code, self._log_tail(), failure)
            return Outcome(self._job.run_id, ok=False, reason=reason)
        if self._job.part is not None and self._job.part.index > 0:
            return Outcome(self._job.run_id, ok=True)  # the first machine writes the result
        problem = self._run.result_problem()
        if problem is not None:
            return Outcome(self._job.run_id, ok=False, reason=f"the child exited with 0, but {problem}")
        return Outcome(self._job.run_id, ok=True)

    def kill(self) -> None:
        """Kill all processes of the run and return when they are gone."""
        self._lifeline.close()
        try:
            self._process.wait(timeout=_KILL_SECONDS)
        except subprocess.TimeoutExpired:  # the guard itself is stuck or stopped
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _log_tail(self) -> str:
        """The end of what this child printed."""
        with self._run.log_file.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - _TAIL_BYTES))
            return log.read().decode(errors="replace")


def run_child(
    job: Job,
    command: Command,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    on_start: Callable[[Child], None] | None = None,
) -> Outcome:
    """Carry out a run in a child process and wait for its end; never raises for a run that fails.

    Args:
        job: The run.
        command: As for :class:`Child`.
        cwd: As for :class:`Child`.
        environment: As for :class:`Child`.
        on_start: Called with the child when it has started.
    """
    try:
        with Child(job, command, cwd, environment) as child:
            if on_start is not None:
                on_start(child)
            return child.wait()
    except SuiteError as error:
        return Outcome(job.run_id, ok=False, reason=str(error))
    except OSError as error:
        return Outcome(job.run_id, ok=False, reason=f"cannot start the run: {error}")


def record_failure(job: Job, reason: str) -> None:
    """Leave the reason in ``failure.json``, if the run directory can be written at all."""
    with contextlib.suppress(SuiteError, OSError):
        if job.directory.is_dir():
            RunDirectory(job.directory).write_failure(reason)


def _reason(code: int, log: str, failure: ProcessFailure | None = None) -> str:
    """Why a child failed, from its exit status, what it printed, and what its processes left.

    Of a run with several processes the cause is, in this order: what the first one to fail says, unless it
    only lost touch with another; a signal that ended one, other than torchrun's SIGTERM to those that were
    left; the first loss of touch. Else it is what the child says itself: its last line that begins with
    ``error: ``, with the indented lines that follow.
    """
    if failure is not None and not failure.lost_touch:
        return _shortened(failure.reason)
    # torchrun survives its workers and tells their fate in a table: "exitcode  : -9 (pid: 123)".
    fates = [int(found) for found in re.findall(r"^\s*exitcode\s*: -(\d+)", log, flags=re.MULTILINE)]
    signals = [-code] if code < 0 else [number for number in fates if number != signal.SIGTERM]
    if signals:
        number = signal.SIGKILL if signal.SIGKILL in signals else signals[0]
        return f"killed by signal {number}" + (" (out of memory?)" if number == signal.SIGKILL else "")
    if failure is not None:
        return _shortened(failure.reason)
    errors = re.findall(r"^error: (.*(?:\n[ \t]+\S.*)*)", log, flags=re.MULTILINE)
    if errors:
        return _shortened(errors[-1].replace("\n  ", "\n").strip())
    if fates:
        return f"killed by signal {fates[0]}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"exit code {code}: {_shortened(lines[-1])}" if lines else f"exit code {code}, nothing printed"


def _shortened(text: str) -> str:
    return text if len(text) <= _REASON_CHARACTERS else f"{text[:_REASON_CHARACTERS]} ..."
