"""Locks on files: one process holds a lock at a time, and it ends with that process however it ends."""

import fcntl
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.errors import SuiteError

_POLL_SECONDS = 0.05


@contextmanager
def locked(path: Path, busy: Exception | None = None, patience: float = 2.0) -> Iterator[None]:
    """Hold the lock of a file. Processes that are forked meanwhile do not hold it.

    Args:
        path: The file; it is made if it is absent, and stays.
        busy: What to raise if another process holds the lock; None waits for as long as that takes.
        patience: Seconds to wait before ``busy`` is raised. A look at the lock (:func:`is_locked`) holds it
            for a moment, and so does a child that a killed holder was just starting.

    Raises:
        SuiteError: The folder is missing or cannot be written, or its disk knows no locks.
    """
    try:
        stream = io.FileIO(path, "a")
    except OSError as error:
        raise _unusable(path, error) from error
    _held.append(stream)
    try:
        _wait_for(stream, path, busy, patience)
        yield
    finally:
        stream.close()
        if stream in _held:  # a forked child has forgotten it
            _held.remove(stream)


def is_locked(path: Path) -> bool:
    """Whether a process of this machine holds the lock of a file now; does not wait."""
    try:
        with open(path, "rb", buffering=0) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _wait_for(stream: io.FileIO, path: Path, busy: Exception | None, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if busy is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if busy is not None and time.monotonic() > deadline:
                raise busy from None
            time.sleep(_POLL_SECONDS)
        except OSError as error:
            raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> SuiteError:
    return SuiteError(
        f"{path.parent}: cannot work in this folder ({error.strerror}).", "Make it exist and writable."
    )


# A forked process, a data loader's worker say, shares the locks of its parent and may outlive it. Files, not
# their numbers: a file that was closed stays closed, while its number is soon another file's.
_held: list[io.FileIO] = []


def _let_go() -> None:
    while _held:
        _held.pop().close()


os.register_at_fork(after_in_child=_let_go)
