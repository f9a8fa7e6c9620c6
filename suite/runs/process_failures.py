"""Why processes of a run ended: of a run with several, the first to fail is the cause, the others follow."""

import contextlib
import os
import time
from dataclasses import asdict, dataclass

from suite.errors import SuiteError
from suite.files import read_json, write_json
from suite.runs.directory import RunDirectory


@dataclass(frozen=True)
class ProcessFailure:
    """What one process of a run says of its end.

    Attributes:
        reason: Why it failed, with the remedy where there is one.
        time: When, in seconds since 1970.
        lost_touch: Whether it only lost touch with another process, which failed before.
        busy: Whether another program works on the run.
    """

    reason: str
    time: float
    lost_touch: bool = False
    busy: bool = False


def write_process_failure(
    run: RunDirectory, reason: str, *, lost_touch: bool = False, busy: bool = False
) -> None:
    """Leave why this process fails, for whoever started the run; a disk that is full is not worth another
    failure."""
    rank = int(os.environ.get("RANK", 0))
    with contextlib.suppress(SuiteError, OSError):
        failure = ProcessFailure(reason, time.time(), lost_touch, busy)
        write_json(run.process_failures / f"{rank}.json", asdict(failure))


def forget_process_failures(run: RunDirectory) -> None:
    """Delete what the processes of an earlier attempt left."""
    for file in run.process_failures.glob("*.json"):
        file.unlink(missing_ok=True)


def first_failure(run: RunDirectory) -> ProcessFailure | None:
    """The first process's failure, those that lost touch with another one last; None if there is none."""
    found = []
    for file in sorted(run.process_failures.glob("*.json")):
        with contextlib.suppress(SuiteError, TypeError):
            found.append(ProcessFailure(**read_json(file)))
    return min(found, key=lambda failure: (failure.lost_touch, failure.time), default=None)
