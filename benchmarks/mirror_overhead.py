"""What the MLflow mirror costs the trainings beside it: its CPU time, as a share of the run's own.

A finished run is replayed: its metrics.jsonl grows as it did, and every INTERVAL seconds of the run's own
time the mirror looks at it, as `suite run` has it do; at the end come the result and the slices. CPU time is
what counts: the mirror works in the driver, beside trainings that use all cores. Importing MLflow, once a
driver, is measured apart.

    python benchmarks/mirror_overhead.py --runs runs --data data --count 5
"""

import argparse
import json
import math
import os
import platform
import shutil
import tempfile
import time
from datetime import datetime
from pathlib import Path

from suite.files import read_json_lines
from suite.machine import cpu_count
from suite.runs.directory import RunDirectory
from suite.tracking.mlflow_mirror import Mirror
from suite.workspace import Workspace

INTERVAL = 10.0


def seconds_of(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()


def replay(run: RunDirectory, mirror: Mirror) -> tuple[float, float]:
    """CPU and wall seconds of the mirror over one run's life."""
    copy = RunDirectory(mirror.workspace.runs / run.run_id)
    copy.path.mkdir(parents=True)
    for file in (run.spec_file, run.config_file, run.environment_file):
        shutil.copy(file, copy.path)
    lines = read_json_lines(run.metrics_file)
    start, end = seconds_of(lines[0]), seconds_of(lines[-1])
    cpu = wall = 0.0
    ticks = math.ceil((end - start) / INTERVAL)
    for tick in range(1, ticks + 2):
        now = start + tick * INTERVAL
        if tick == ticks + 1:
            for file in (run.metrics_file, run.detections_file, run.coverage_file, run.result_file):
                if file.exists():
                    shutil.copy(file, copy.path)
        else:
            text = "".join(json.dumps(line) + "\n" for line in lines if seconds_of(line) <= now)
            copy.metrics_file.write_text(text)
        before = time.process_time(), time.perf_counter()
        mirror.sync(copy, running=tick <= ticks)
        cpu += time.process_time() - before[0]
        wall += time.perf_counter() - before[1]
    return cpu, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--count", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    runs = [RunDirectory(path.parent) for path in sorted(arguments.runs.glob("*/result.json"))]
    chosen = [run for run in runs if run.result() is not None][: arguments.count]
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Workspace(Path(temporary))
        workspace.data.symlink_to(arguments.data.resolve())
        mirror = Mirror(workspace)
        before = time.process_time()
        mirror.experiment("benchmark")  # imports MLflow and makes the store
        once = time.process_time() - before
        shares = []
        for run in chosen:
            result = run.result()
            assert result is not None
            own = result["train_seconds"] + result["evaluation_seconds"]
            cpu, wall = replay(run, mirror)
            shares.append({"run": run.run_id, "run_s": own, "cpu_s": round(cpu, 3), "wall_s": round(wall, 3)})
    cpu = sum(one["cpu_s"] for one in shares)
    print(
        json.dumps(
            {
                "once_a_driver_cpu_s": round(once, 2),
                "share_of_the_runs": round(cpu / sum(one["run_s"] for one in shares), 5),
                "runs": shares,
                "machine": f"{cpu_count():g} cores, Python {platform.python_version()}",
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
