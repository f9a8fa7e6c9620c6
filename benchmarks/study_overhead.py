"""What a study costs beside its trials: `suite tune`'s driver against Ray Tune with OptunaSearch.

The same space, the same TPE sampler, the same number of trials at once on a Ray of this machine, in turns,
each arm in a process of its own. Two kinds of trial: a trivial one (a process that sleeps for a second) and a
real one (the training of preset smoke by the suite's worker). Each trial notes when it began and ended. From
that follow

- wall: from the first trial asked for to the last one told, Ray being up already;
- busy: share of wall x slots in which trials ran;
- overhead a trial: the rest of wall x slots, over the trials.

The suite's driver writes its journal, its list of trials and the run directories as it always does.

    python benchmarks/study_overhead.py --trivial 40 --smoke 12
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from suite.machine import cpu_count, git_commit

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "benchmarks" / "results" / "study_overhead-cpu.json"
SLOTS = 2

STUDY = """
name: overhead
title: Overhead of a study
method: ltm
preset: smoke
seeds: [0]
space:
  K: {type: int, low: 4, high: 60, log: true}
  beta: {type: float, low: 0.1, high: 1.5, log: true}
objectives:
- {metric: step_seconds, direction: minimize}
split: val
sampler: {name: tpe, seed: 0, n_startup_trials: 5, n_ei_candidates: 24, multivariate: true, group: false, constant_liar: true}
pruner: {name: none}
trials: 1
parallel: 2
"""  # noqa: E501

TRIAL = """
import json, os, subprocess, sys, time
from pathlib import Path
began, folder, kind = time.time(), Path(sys.argv[1]), sys.argv[2]
if kind == "trivial":
    time.sleep(1.0)
    (folder / "result.tmp").write_text(json.dumps({"metrics": {}, "files": {}, "step_seconds": 1.0}))
    os.replace(folder / "result.tmp", folder / "result.json")
else:
    with open(folder / "log.txt", "ab") as log:
        worker = [sys.executable, "-m", "suite.training.worker", str(folder)]
        subprocess.run(worker, check=True, stdout=log, stderr=log)
(folder / "busy.json").write_text(json.dumps([began, time.time()]))
"""


def trial_command(folder: Path, kind: str) -> list[str]:
    """The process of a trial."""
    quick = ["-S"] if kind == "trivial" else []
    return [sys.executable, *quick, "-c", TRIAL, str(folder), kind]


def _plan(folder: Path):  # type: ignore[no-untyped-def]
    from suite.tuning.study_plan import plan_study, prepare_data
    from suite.workspace import Workspace

    path = folder / "experiments" / "studies" / "overhead.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(STUDY)
    (folder / "data").symlink_to(folder.parent / "data")
    plan = plan_study("overhead", None, None, Workspace(folder))
    return plan, prepare_data(plan)


class _Command:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, job: Any) -> tuple[list[str], dict[str, str]]:
        environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return trial_command(job.directory, self.kind), environment


def suite_arm(folder: Path, kind: str, trials: int) -> tuple[float, float]:
    """The suite's driver on Ray; returns when it began and ended."""
    import cloudpickle
    from rich.console import Console

    from suite.scheduling import RayExecutor
    from suite.tuning.definition import only_driver, open_study
    from suite.tuning.driver import Driver

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    plan, truth = _plan(folder)
    with only_driver(plan), RayExecutor(cpus=SLOTS, gpus=0, command=_Command(kind)) as executor:
        study = open_study(plan, None)
        driver = Driver(plan, study, truth, executor, SLOTS, Console(stderr=True))
        began = time.time()
        driver.run(trials)
        return began, time.time()


def _space(trial: Any) -> None:
    trial.suggest_int("K", 4, 60, log=True)
    trial.suggest_float("beta", 0.1, 1.5, log=True)


def tune_arm(folder: Path, kind: str, trials: int) -> tuple[float, float]:
    """Ray Tune as one would write it: a function that makes the run's directory and carries it out."""
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    plan, _ = _plan(folder)

    def trainable(config: dict[str, Any]) -> dict[str, float]:
        run = plan.run(config, 0)
        run.write(plan.dataset)
        environment = {**os.environ, **_Command(kind)(type("Job", (), {"directory": run.directory.path}))[1]}
        subprocess.run(trial_command(run.directory.path, kind), check=True, env=environment)
        return {"step_seconds": json.loads(run.directory.result_file.read_text())["step_seconds"]}

    sampler = optuna.samplers.TPESampler(
        seed=0, n_startup_trials=5, n_ei_candidates=24, multivariate=True, constant_liar=True
    )
    ray.init(address="local", num_cpus=SLOTS, num_gpus=0, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(_space, sampler=sampler, metric="step_seconds", mode="min"),
            num_samples=trials,
            max_concurrent_trials=SLOTS,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    began = time.time()
    results = tuner.fit()
    ended = time.time()
    assert results.num_errors == 0, results.errors
    ray.shutdown()
    return began, ended


ARMS = {"suite": suite_arm, "ray tune": tune_arm}


def measure(arm: str, kind: str, trials: int, data: Path) -> dict[str, float]:
    """One arm in a process of its own, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=data) as temporary:
        folder = Path(temporary)
        arguments = ["--arm", arm, "--kind", kind, "--count", str(trials), "--folder", temporary]
        environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        }
        command = [sys.executable, str(Path(__file__)), *arguments]
        subprocess.run(command, check=True, cwd=folder, env=environment, stdout=sys.stderr)
        began, ended = json.loads((folder / "wall.json").read_text())
        intervals = [json.loads(path.read_text()) for path in folder.glob("runs/*/busy.json")]
    busy = sum(end - begin for begin, end in intervals)
    capacity = SLOTS * (ended - began)
    return {
        "trials": trials,
        "runs": len(intervals),
        "wall_seconds": round(ended - began, 2),
        "busy_share": round(busy / capacity, 3),
        "overhead_seconds_a_trial": round((capacity - busy) / trials, 3),
    }


def main() -> None:
    """Measure both arms with both kinds of trial, or be one arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trivial", type=int, default=40, help="Trivial trials.")
    parser.add_argument("--smoke", type=int, default=12, help="Trainings of preset smoke.")
    parser.add_argument("--arm", choices=list(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        times = ARMS[arguments.arm](arguments.folder, arguments.kind, arguments.count)
        (arguments.folder / "wall.json").write_text(json.dumps(times))
        return
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "data").mkdir()
        for kind, trials in (("trivial", arguments.trivial), ("smoke", arguments.smoke)):
            found = {arm: measure(arm, kind, trials, Path(temporary)) for arm in ARMS}
            overheads = [found[arm]["overhead_seconds_a_trial"] for arm in ("ray tune", "suite")]
            walls = [found[arm]["wall_seconds"] for arm in ("ray tune", "suite")]
            result[kind] = {
                **found,
                "overhead, ray tune / suite": round(overheads[0] / overheads[1], 2),
                "wall, ray tune / suite": round(walls[0] / walls[1], 2),
            }
    result |= {
        "trials_at_once": SLOTS,
        "machine": f"{platform.processor() or platform.machine()}, {cpu_count():g} cores",
        "python": platform.python_version(),
        "commit": git_commit(PROJECT),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
