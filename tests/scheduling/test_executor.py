import sys
from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.scheduling import Job, command
from suite.scheduling.executor import Part, fitted, machines_of, refuse_impossible

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


def test_a_cpu_run_of_several_processes_is_launched_as_one_on_gpus_is() -> None:
    argv, environment = command(Job("run", DIRECTORY, 2, 0, cpu_processes=2))
    assert argv[1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    assert (environment["OMP_NUM_THREADS"], environment["CUDA_VISIBLE_DEVICES"]) == ("1", "")


def test_a_part_of_a_run_meets_the_others() -> None:
    argv, _ = command(Job("run", DIRECTORY, 24, 8, part=Part(1, 2, "head", 4711)))
    assert argv[3:13] == [
        *("--nnodes", "2", "--node-rank", "1", "--master-addr", "head", "--master-port", "4711"),
        *("--nproc-per-node", "8"),
    ]
    one, _ = command(Job("run", DIRECTORY, 1, 1, part=Part(0, 2, "head", 4711)))
    assert one[3:5] == ["--nnodes", "2"] and one[-2:] == ["--launcher", "pytorch"]


@pytest.mark.parametrize(
    ("cpus", "gpus", "machines", "given"),
    [
        (12, 1, [(8, 1)], 8),
        (12, 1, [(64, 8)], 8),
        (12, 0.5, [(8, 1)], 4),
        (24, 8, [(208, 8)], 24),
        (12, 1, [(4, 1), (16, 2)], 8),
        (12, 0, [(8, 1)], 12),
        (24, 8, [(8, 1)], 24),
    ],
)
def test_gpus_never_wait_for_cores(cpus, gpus, machines, given) -> None:
    assert fitted(Job("run", DIRECTORY, cpus, gpus), machines).cpus == given


@pytest.mark.parametrize(
    ("gpus", "has", "machines"),
    [
        (8, [8], 1), (16, [8, 8], 2), (16, [8, 4], None), (16, [8, 8, 8, 8], 2), (12, [4, 4, 4], 3),
        (3, [2, 2], None),
    ],
)  # fmt: skip
def test_a_run_spans_as_few_machines_as_can_be(gpus, has, machines) -> None:
    assert machines_of(gpus, [(32, count) for count in has]) == machines
    job = Job("run", DIRECTORY, 24, gpus)
    if machines is None:
        with pytest.raises(SuiteError, match=f"{gpus} GPUs"):
            refuse_impossible(job, [(32, count) for count in has], "Less.", may_span=True)
    else:
        refuse_impossible(job, [(32, count) for count in has], "Less.", may_span=True)
