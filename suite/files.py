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
    """Append ``value``, an object, as one line of JSON.

    What an interruption left of a last line is dropped first, lest the new line be glued to it.
    """
    line = json.dumps(value).encode() + b"\n"
    with path.open("a+b") as stream:
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            if stream.read() != b"\n":
                stream.seek(0)
                content = stream.read()
                start = content.rfind(b"\n") + 1
                if _is_json(content[start:]):
                    stream.write(b"\n")
                else:
                    stream.truncate(start)
        stream.write(line)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one per line; a last line cut short by an interruption is left out.

    Raises:
        SuiteError: The file cannot be read, or a line is not a JSON object.
    """
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SuiteError(f"{path}: cannot read ({error.strerror}).") from error
    if _is_json(last):  # all but the end of the line was written
        lines.append(last)
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line.decode())
        except json.JSONDecodeError as error:
            raise SuiteError(f"{path}:{number}: not valid JSON ({error.msg}).") from error
        except UnicodeDecodeError as error:
            raise SuiteError(f"{path}:{number}: not text.") from error
        if not isinstance(value, dict):
            raise SuiteError(f"{path}:{number}: not a JSON object.")
        values.append(value)
    return values


def _is_json(text: bytes) -> bool:
    """Whether a line is whole: no beginning of a JSON object is JSON itself."""
    try:
        json.loads(text.decode())
    except ValueError:
        return False
    return True


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
