"""Where a study's trials are kept: a journal file by default, or any database that Optuna can use."""

import json
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from suite.errors import SuiteError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = "journal.log"
_ANSWER_SECONDS = 15.0


def open_storage(folder: Path, url: str | None, writes: bool = True) -> "BaseStorage":
    """Open a study's storage.

    Args:
        folder: The study's folder, which holds the journal.
        url: A database such as ``sqlite:///studies.db`` or ``postgresql://user@host/name``; None for the
            journal.
        writes: Whether this is the one process that writes; only that one repairs the journal.

    Raises:
        SuiteError: The journal is damaged, or the database does not answer or cannot be used.
    """
    if url is not None:
        return _database(url)
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    # The lock is a link to the journal: it has to be an absolute path to lead there.
    path = (folder / JOURNAL).resolve()
    if writes:
        # Whoever held the lock is gone: a study has one writer, and that is this process.
        path.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
    _check_journal(path, repair=writes)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise SuiteError(f"{path}: the journal cannot be read ({error}).", _restore(path)) from error


def _restore(path: Path) -> str:
    return (
        "Put back a copy of it; or delete it, and the study starts again: trials whose runs are finished "
        f"then cost nothing. ({path.parent / 'trials.json'} tells what was known.)"
    )


def _check_journal(path: Path, repair: bool) -> None:
    """Cut off a last line that was being written when the machine stopped; refuse any other damage."""
    if not path.exists():
        return
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        whole = line.endswith(b"\n")
        try:
            operation = json.loads(line)
            sound = whole and isinstance(operation, dict) and "op_code" in operation
        except ValueError:
            sound = False
        if sound:
            continue
        if number < len(lines) or whole:
            raise SuiteError(f"{path}:{number}: the journal is damaged here.", _restore(path))
        if repair:
            with path.open("r+b") as stream:
                stream.truncate(len(content) - len(line))


def _database(url: str) -> "BaseStorage":
    """Connect in a thread, so that a server that accepts and never answers ends in an error too."""
    shown = without_password(url)
    _check_server(url, shown)
    found: dict[str, Any] = {}

    def connect() -> None:
        try:
            from optuna.storages import RDBStorage

            found["storage"] = RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    if thread.is_alive():
        raise SuiteError(
            f"--storage {shown}: no answer within {_ANSWER_SECONDS:.0f} s.",
            "Check the server and the address, or leave --storage out for a journal file.",
        )
    if "error" in found:
        reason = str(found["error"]).strip().splitlines()[0] if str(found["error"]).strip() else ""
        raise SuiteError(
            f"--storage {shown}: {reason or type(found['error']).__name__}",
            "Expected a URL such as sqlite:///studies.db or postgresql://user@host/name, and its driver "
            "installed; or leave --storage out for a journal file.",
        ) from found["error"]
    storage: BaseStorage = found["storage"]
    return storage


def _check_server(url: str, shown: str) -> None:
    """Refuse an address where nothing listens, which some drivers would try for minutes."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return  # the driver says what is wrong with it
    if host is None or port is None:
        return
    try:
        socket.create_connection((host, port), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise SuiteError(
            f"--storage {shown}: nothing answers at {host}:{port} ({error.strerror or error}).",
            "Start the server or correct the address, or leave --storage out for a journal file.",
        ) from error


def without_password(url: str) -> str:
    """A database's URL as it may be printed."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, login = head.partition("://")
    return f"{scheme}{slashes}{login.partition(':')[0]}{at}{tail}" if at and slashes else url
