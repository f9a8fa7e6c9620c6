"""What NMS recall costs an evaluation: the suite's loop with and without measuring coverage, in turns.

    python benchmarks/nms_recall_cost.py RUN_DIR [RUN_DIR ...] [--repeats 3]

Each run directory is a finished run, whose detector evaluates its validation images again; nothing is written
there.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch
from mmengine.registry import RUNNERS

from suite.runs import RunDirectory
from suite.training.worker import load_config


def seconds(run: RunDirectory, covered: bool) -> float:
    """Seconds of one evaluation, the detector being loaded."""
    config = load_config(run, "none")
    config.load_from = str(run.checkpoint_file.resolve())
    config.custom_hooks = []
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        runner = RUNNERS.build(config)
        runner.load_or_resume()
        if not covered:
            runner.test_loop.head = None
        runner.test()  # the first one also fills caches
        started = time.perf_counter()
        runner.test()
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    result = {"torch": torch.__version__, "python": platform.python_version(), "ratios": {}}
    for path in options.runs:
        run = RunDirectory(path)
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(options.repeats):
            for covered, found in times.items():
                found.append(seconds(run, covered))
        plain, covered = (statistics.median(found) for found in times.values())
        result["ratios"][run.spec()["method"]] = {
            "with coverage / without": round(covered / plain, 3), "seconds without": round(plain, 2)
        }  # fmt: skip
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
