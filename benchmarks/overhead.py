"""What the suite adds to N trainings: `suite run` against bare mmengine processes with the same configs.

The peer is what one would type without the suite: a shell (`xargs -P`) that starts one process a config,
as many side by side as there are cores, each with one thread, each training and testing with mmengine's
Runner. The suite's time holds all it does: planning, starting Ray, watching, writing results, the MLflow
mirror. Both arms train the same seeds of the same configs with cold processes, one arm after the other.

    python benchmarks/overhead.py --preset mini --experiments ltm.table4 --repeats 1
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from suite.machine import cpu_count, git_commit
from suite.runs.resolve import config_source
from suite.workflow import Request, make_plan, prepare
from suite.workspace import Workspace

PROJECT = Path(__file__).resolve().parent.parent

BARE = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.registry import RUNNERS
import mmdet.registry
config = Config.fromfile(sys.argv[1])
runner = RUNNERS.build(config)
runner.train()
runner.test()
"""


def suite_arm(folder: Path, preset: str, experiments: str) -> float:
    """Wall time in seconds of `suite run` from nothing."""
    command = [sys.executable, "-m", "suite.cli", "run", "--preset", preset, "--experiments", experiments]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def bare_arm(folder: Path, configs: list[Path]) -> float:
    """Wall time in seconds of the same configs, started by a shell."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    script = folder / "bare.py"
    script.write_text(BARE)
    start = time.perf_counter()
    subprocess.run(
        ["xargs", "-P", str(int(cpu_count())), "-n", "1", sys.executable, str(script)],
        input="\n".join(map(str, configs)), text=True, env=environment, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--experiments", default="ltm.table4")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {"suite": [], "bare": []}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            shutil.copytree(PROJECT / "experiments", folder / "experiments")
            planned = make_plan(Request(arguments.preset, arguments.experiments, (), None, Workspace(folder)))
            prepare(planned.dataset)
            configs = []
            for run in planned.runs:
                work_dir = folder / "bare" / run.run_id
                work_dir.mkdir(parents=True)
                configs.append(work_dir / "config.py")
                configs[-1].write_text(config_source({**run.config, "work_dir": str(work_dir)}))
            seconds["bare"].append(bare_arm(folder, configs))
            seconds["suite"].append(suite_arm(folder, arguments.preset, arguments.experiments))
    ratio = sum(seconds["suite"]) / sum(seconds["bare"])
    result = {
        "preset": arguments.preset,
        "runs": [run.spec.name for run in planned.runs],
        "seconds": {arm: [round(value, 1) for value in values] for arm, values in seconds.items()},
        "suite / bare": round(ratio, 3),
        "machine": f"{platform.processor() or platform.machine()}, {cpu_count():g} cores",
        "python": platform.python_version(),
        "commit": git_commit(PROJECT),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
