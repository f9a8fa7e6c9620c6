"""How soon `make ui` answers and how much memory it takes, against MLflow's own `mlflow ui`.

Both serve the same store, one after the other, cold. Time: from the start of the command to the first answer
with status 200 to a search for runs. Memory: the resident sets of all processes of the command, summed,
afterwards (pages they share count once for each).

    python benchmarks/mlflow_ui.py            # in a folder with runs/
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from suite.machine import cpu_count
from suite.tracking.store import tracking_uri
from suite.workspace import Workspace


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def settled(pid: int) -> list[psutil.Process]:
    """The processes of a command, once none has come or gone for 15 s: the sync has ended."""
    tree: list[psutil.Process] = []
    since = time.monotonic()
    while time.monotonic() - since < 15:
        now = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        if {one.pid for one in now} != {one.pid for one in tree}:
            tree, since = now, time.monotonic()
        time.sleep(0.5)
    return tree


def measure(command: list[str], port: int, folder: Path) -> dict[str, float]:
    """Seconds to the first answer, and MB once it has settled."""
    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
                if answer.status == 200:
                    break
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        tree = settled(process.pid)
        return {
            "first_answer_s": round(seconds, 2),
            "processes": len(tree),
            "rss_mb": round(sum(one.memory_info().rss for one in tree) / 2**20),
        }
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        for left in [process, *children]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    folder = parser.parse_args().folder.resolve()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    uri = tracking_uri(Workspace(folder))
    arms = {
        "suite ui": [sys.executable, "-m", "suite.cli", "ui", "--port"],
        "mlflow ui": [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--port"],
    }
    found = {}
    for name, command in arms.items():
        port = free_port()
        found[name] = measure([*command, str(port)], port, folder)
    load = os.getloadavg()[0]
    machine = f"{cpu_count():g} cores, Python {platform.python_version()}, load {load:.1f} at the end"
    print(json.dumps({**found, "machine": machine}, indent=1))


if __name__ == "__main__":
    main()
