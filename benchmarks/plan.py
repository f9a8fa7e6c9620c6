"""What `suite plan` costs: CPU seconds of the command, beside an earlier commit of this repository.

Both plan the same request in the same folder: this checkout's experiments and run directories. The commands
take turns, each a process of its own with compiled modules at hand; user and system time count, so that
other work on the machine disturbs little.

    python benchmarks/plan.py --against 40672eb
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from suite.machine import cpu_count, git_commit

PROJECT = Path(__file__).resolve().parent.parent


def cpu_seconds(code: Path, folder: Path, arguments: list[str]) -> tuple[float, str]:
    """User and system time of `suite plan` with the code of a checkout, and what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "suite.cli", "plan", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--against", help="A commit; without one, this checkout alone is measured.")
    parser.add_argument("--runs", type=Path, default=PROJECT / "runs", help="Folder of run directories.")
    parser.add_argument("--experiments", default="core")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    request = ["--experiments", arguments.experiments]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "project"
        folder.mkdir()
        for name, target in (("experiments", PROJECT / "experiments"), ("runs", arguments.runs)):
            (folder / name).symlink_to(target.resolve())
        arms = {"here": PROJECT}
        if arguments.against:
            arms[arguments.against] = Path(temporary) / "earlier"
            arms[arguments.against].mkdir()
            archive = subprocess.run(
                ["git", "archive", arguments.against, "suite"], cwd=PROJECT, check=True, capture_output=True
            )
            subprocess.run(["tar", "-x"], cwd=arms[arguments.against], input=archive.stdout, check=True)
        printed = {arm: cpu_seconds(code, folder, request)[1] for arm, code in arms.items()}  # compiles
        times: dict[str, list[float]] = {arm: [] for arm in arms}
        for _ in range(arguments.repeats):
            for arm, code in arms.items():
                times[arm].append(cpu_seconds(code, folder, request)[0])
        seconds = {arm: statistics.median(taken) for arm, taken in times.items()}
    result = {
        "experiments": arguments.experiments,
        "run directories": sum(1 for _ in arguments.runs.glob("*/spec.json")),
        "CPU seconds": {arm: round(value, 3) for arm, value in seconds.items()},
        "the same plan": len(set(printed.values())) == 1,
        "machine": f"{platform.processor() or platform.machine()}, {cpu_count():g} cores",
        "python": platform.python_version(),
        "commit": git_commit(PROJECT),
    }
    if arguments.against:
        result[f"here / {arguments.against}"] = round(seconds["here"] / seconds[arguments.against], 3)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
