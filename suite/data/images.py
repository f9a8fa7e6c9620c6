"""What the images of a folder hold, known again by size and time first, by content where those changed.

The content counts, not the time: a copy of a dataset on another machine is the same dataset. Each file's hash
is remembered with its size and time of change. COCO's 123,287 images are so read once, and then looked at.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from suite.errors import SuiteError
from suite.files import sha256, write_atomically

_READERS = 8  # hashing leaves Python's lock, and a disk answers several requests at once
_HEAD = "# name, bytes, nanoseconds since 1970, SHA-256"
_SAY_FROM = 10_000  # so many images take long enough to say so


class Forgotten(Exception):
    """Nothing is remembered of the images, not even their names."""


def images_fingerprint(
    folder: Path, names: Iterable[str] | None, memory: Path | None, say: Callable[[str], None]
) -> str:
    """SHA-256 over names and contents of images; the same for equal images, whatever their times.

    Args:
        folder: Their folder.
        names: Names of the images that count; None for those that ``memory`` holds.
        memory: File that remembers the hashes.
        say: Told once if many images have to be read.

    Raises:
        Forgotten: ``names`` is None, and ``memory`` is missing or damaged.
        SuiteError: An image is missing or cannot be read, or ``memory`` cannot be written.
    """
    known = _read(memory)
    if names is None and not known:
        raise Forgotten
    wanted = known if names is None else {name: known.get(name) for name in names}
    try:
        state = {name: _state(folder, name) for name in wanted}
        changed = [name for name, seen in wanted.items() if seen is None or seen[:2] != state[name]]
        if len(changed) >= _SAY_FROM:
            total = sum(state[name][0] for name in changed) / 1e9
            say(
                f"Reading {len(changed):,} images of {folder} once ({total:.1f} GB), to notice changes later."
            )
        with ThreadPoolExecutor(_READERS) as readers:
            hashes = dict(zip(changed, readers.map(lambda name: sha256(folder / name), changed), strict=True))
    except OSError as error:
        raise SuiteError(
            f"{error.filename}: cannot read this image ({error.strerror}).",
            "Restore it, or unpack the archive of images again; it may have been interrupted.",
        ) from error
    found = {
        name: (*state[name], hashes[name] if name in hashes else seen[2])  # type: ignore[index]
        for name, seen in sorted(wanted.items())
    }
    if found != known and memory is not None:
        lines = "".join(f"{name}\t{size}\t{time}\t{digest}\n" for name, (size, time, digest) in found.items())
        write_atomically(memory, f"{_HEAD}\n{lines}")
    digest = hashlib.sha256()
    for name, (_, _, content) in found.items():
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def _read(memory: Path | None) -> dict[str, tuple[int, int, str]]:
    """Name -> size, time and hash; empty where nothing can be remembered."""
    if memory is None:
        return {}
    try:
        head, *lines = memory.read_text().splitlines()
        found = {}
        for line in lines:
            name, size, time, digest = line.rsplit("\t", 3)
            found[name] = (int(size), int(time), digest)
    except (OSError, ValueError):  # only a memory: made anew
        return {}
    return found if head == _HEAD else {}


def _state(folder: Path, name: str) -> tuple[int, int]:
    state = os.stat(f"{folder}/{name}")
    return state.st_size, state.st_mtime_ns
