"""Downloads that go on where they stopped, and files that are put in place only when they are right."""

import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from suite.errors import SuiteError
from suite.files import sha256

_BLOCK = 1 << 20
_PATIENCE_SECONDS = 30.0

Advance = Callable[[int, int | None], None]
"""Told the bytes that are there and, where the server says so, those in all."""


def download(url: str, target: Path, checksum: str, advance: Advance = lambda done, total: None) -> None:
    """Download a file; ``target`` appears when it is whole and right.

    What an interrupted download left (``.part`` beside the target) is taken up where the server allows it.

    Args:
        url: Where it is.
        target: Where it belongs; the folder exists.
        checksum: Its SHA-256 in hexadecimal, or the beginning of it; empty for none.
        advance: Told of the progress.

    Raises:
        SuiteError: The server does not answer, or not to the end; or the content is another one, which is
            kept aside as ``.wrong``. The message names the URL and the checksum.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        _fetch(url, part, advance)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise SuiteError(f"{url}: cannot be downloaded ({reason}).") from error
    put_in_place(part, target, checksum, url)


def copy_in_place(source: Path, target: Path, checksum: str) -> None:
    """Copy a file that somebody brought; ``target`` appears when it is whole and right.

    Raises:
        SuiteError: The file cannot be read, the folder cannot be written, or the content is another one.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        shutil.copyfile(source, part)
    except OSError as error:
        raise SuiteError(f"{source}: cannot be copied to {target} ({error.strerror}).") from error
    put_in_place(part, target, checksum, str(source))


def put_in_place(part: Path, target: Path, checksum: str, origin: str) -> None:
    """Give a whole file its name, if its content is right.

    Raises:
        SuiteError: It is another content; the file is kept aside with the ending ``.wrong``.
    """
    found = sha256(part)
    if not found.startswith(checksum):
        aside = target.with_name(f"{target.name}.wrong")
        os.replace(part, aside)
        raise SuiteError(
            f"{origin}: another file than expected: SHA-256 {found}, expected {checksum}; kept as {aside}."
        )
    os.replace(part, target)


def _fetch(url: str, part: Path, advance: Advance) -> None:
    """Download to ``part``, after what is there already; raises OSError or HTTPException."""
    there = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={there}-"} if there else {}
    try:
        answer = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_PATIENCE_SECONDS
        )
    except urllib.error.HTTPError as error:
        if not (there and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise
        part.unlink()  # as long as the file or longer: whether it is whole, no server says
        return _fetch(url, part, advance)
    with answer, part.open("ab" if answer.status == http.client.PARTIAL_CONTENT else "wb") as stream:
        done = stream.tell()
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        while block := answer.read(_BLOCK):
            stream.write(block)
            done += len(block)
            advance(done, total)
        stream.flush()
        os.fsync(stream.fileno())
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")
    return None
