"""What knowing COCO's images again costs: the suite's look at sizes and times, beside reading all of them.

Makes a folder with as many files as COCO's train2017 and val2017 have images (123,287), small ones: opening
files and asking for their state is what is measured, not the disk. The peer is `sha256sum` over all files,
which is what noticing a change without a memory takes.

    python benchmarks/data_check.py
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite.data.images import images_fingerprint
from suite.machine import cpu_count, git_commit

PROJECT = Path(__file__).resolve().parent.parent


def timed(work: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=123_287)
    parser.add_argument("--bytes", type=int, default=2_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, memory = Path(temporary) / "images", Path(temporary) / "images.tsv"
        folder.mkdir()
        names = [f"{index:012d}.jpg" for index in range(arguments.images)]
        content = os.urandom(arguments.bytes - 12)
        for name in names:
            (folder / name).write_bytes(name[:12].encode() + content)

        def look(given: list[str] | None) -> str:
            return images_fingerprint(folder, given, memory, lambda text: None)

        first = timed(lambda: look(names))
        again = timed(lambda: look(None))
        os.utime(folder / names[0], ns=(0, 0))
        one_changed = timed(lambda: look(None))
        listed = Path(temporary) / "names"
        listed.write_text("\0".join(str(folder / name) for name in names))
        command = f"xargs -0 -P {int(cpu_count())} -n 2000 sha256sum < {listed} > /dev/null"
        peer = timed(lambda: subprocess.run(["sh", "-c", command], check=True))
        result = {
            "images": arguments.images,
            "bytes_per_image": arguments.bytes,
            "seconds": {
                "first look, all read": first,
                "second look, nothing changed": again,
                "third look, one image touched": one_changed,
                "sha256sum of all, one process per core": peer,
            },
            "sha256sum / second look": peer / again,
            "memory_file_mb": memory.stat().st_size / 1e6,
            "machine": f"{platform.processor() or platform.machine()}, {cpu_count():g} cores",
            "python": platform.python_version(),
            "commit": git_commit(PROJECT),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
