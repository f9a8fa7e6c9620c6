"""Files that are either whole or absent."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from suite.errors import SuiteError


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write ``data`` so that a reader sees either the old file or the whole new one.

    Raises:
        SuiteError: The disk is full or the folder cannot be written; the old file is untouched.
    """
    payload = data.encode() if isinstance(data, str) else data
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise SuiteError(
            f"{path}: cannot write ({error.strerror}).", "Free disk space or make the folder writable."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are refused."""
    write_atomically(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        SuiteError: The file is missing, unreadable, truncated or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SuiteError(f"{path}: cannot read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: not a text file.") from error
    except json.JSONDecodeError as error:
        fault = f"{error.msg} at column {error.colno}, character {error.pos:,} of {len(error.doc):,}"
        if not error.doc.strip():
            fault = "the file is empty"
        raise SuiteError(
            f"{path}:{error.lineno}: not valid JSON ({fault}); the file may be truncated.",
            "Restore or download the file again.",
        ) from error


def append_json_line(path: Path, value: Any) -> None:
    """Append ``value`` as one line of JSON."""
    with path.open("a") as stream:
        stream.write(json.dumps(value) + "\n")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; a last line cut short by an interruption is left out.

    Raises:
        SuiteError: A line other than the last is not JSON.
    """
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise SuiteError(f"{path}:{number}: not valid JSON ({error.msg}).") from error
    return values


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
