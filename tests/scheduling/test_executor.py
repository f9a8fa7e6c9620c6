import sys
from pathlib import Path

import pytest

from suite.scheduling import Job, command

DIRECTORY = Path("/data/runs/ltm-s0-0123456789ab")


@pytest.mark.parametrize(
    ("cpus", "gpus", "threads", "hidden"),
    [(1, 0, "1", True), (0.5, 0, "1", True), (4, 0, "4", True), (6, 1, "6", False), (2, 0.25, "2", False)],
)
def test_one_process(cpus: float, gpus: float, threads: str, hidden: bool) -> None:
    argv, environment = command(Job("run", DIRECTORY, cpus, gpus))
    assert argv == [sys.executable, "-m", "suite.training.worker", str(DIRECTORY)]
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == threads
    assert environment.get("CUDA_VISIBLE_DEVICES") == ("" if hidden else None)


def test_several_gpus_run_under_torchrun_and_split_the_cores() -> None:
    argv, environment = command(Job("run", DIRECTORY, 32, 8))
    assert argv == [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "8"),
        *("-m", "suite.training.worker", str(DIRECTORY), "--launcher", "pytorch"),
    ]
    assert environment == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"}
