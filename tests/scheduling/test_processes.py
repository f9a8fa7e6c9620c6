"""Runs of several processes, under torchrun with gloo: whose failure a run's reason tells."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("contract")

from contract import PYTHONPATH  # noqa: E402

from suite.runs.directory import RunDirectory  # noqa: E402
from suite.runs.process_failures import (  # noqa: E402
    ProcessFailure,
    first_failure,
    forget_process_failures,
    write_process_failure,
)
from suite.scheduling import Job, RayExecutor  # noqa: E402
from suite.scheduling.child import _reason, run_child  # noqa: E402
from suite.scheduling.executor import BUSY, launch  # noqa: E402

SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
import torch
import torch.distributed as dist
from suite.errors import SuiteError
from suite.training import worker

def work(run, launcher):
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    total = torch.ones(1) * rank
    dist.all_reduce(total)
    print(f"rank {{rank}} of {{size}}", flush=True)
    if rank == 1:
        {body}
    dist.barrier()
    if rank == 0:
        result = {{"metrics": {{"AP": total.item()}}, "files": {{}}}}
        (run.path / "result.json").write_text(json.dumps(result))


sys.exit(worker.main([sys.argv[1], "--launcher", "pytorch"], work))
"""


def script(job: Job) -> tuple[list[str], dict[str, str]]:
    """Starts the job's script in the job's processes."""
    argv, environment = launch(job, [str(job.directory / "script.py"), str(job.directory)])
    return argv, {**environment, "PYTHONPATH": PYTHONPATH}


def make(root: Path, body: str = "pass", gpus: float = 0) -> Job:
    root.mkdir(exist_ok=True)
    (root / "script.py").write_text(SCRIPT.format(body=body))
    return Job("run", root, 1, gpus, cpu_processes=2)


def test_the_process_that_failed_tells_the_reason_not_the_one_that_torchrun_ended(tmp_path):
    job = make(tmp_path, 'raise SuiteError("step 7: loss_cls is nan.", "Lower the learning rate.")')
    outcome = run_child(job, script, Path.cwd())
    assert outcome.reason == "step 7: loss_cls is nan. Lower the learning rate."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9 (out of memory?)"),
        ('raise torch.cuda.OutOfMemoryError("CUDA is full.")', "out of GPU memory: CUDA is full. ACCUMULATE"),
        ('raise worker.Busy("busy")', BUSY),
    ],
)  # fmt: skip
def test_reasons_of_two_processes(tmp_path, body, reason):
    outcome = run_child(make(tmp_path, body), script, Path.cwd())
    assert not outcome.ok and outcome.reason.startswith(reason)


@pytest.mark.slow
def test_two_processes_that_succeed(tmp_path):
    assert run_child(make(tmp_path), script, Path.cwd()).ok
    assert "rank 1 of 2" in (tmp_path / "log.txt").read_text()


def test_the_first_process_to_fail_is_the_cause(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    assert first_failure(run) is None
    for rank, (reason, time, lost) in enumerate(
        [("gloo is gone", 1.0, True), ("second", 3.0, False), ("first", 2.0, False)]
    ):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setattr("time.time", lambda time=time: time)
        write_process_failure(run, reason, lost_touch=lost)
    assert first_failure(run) == ProcessFailure("first", 2.0)
    forget_process_failures(run)
    assert first_failure(run) is None


TABLE = """
  exitcode  : -15 (pid: 1)
Root Cause (first observed failure):
  exitcode  : -15 (pid: 2)
  exitcode  : {} (pid: 3)
"""


@pytest.mark.parametrize(
    ("fate", "failure", "reason"),
    [
        ("1", ProcessFailure("no images", 1.0), "no images"),
        ("-9", ProcessFailure("gloo: Connection closed by peer", 1.0, lost_touch=True), "killed by signal 9"),
        ("-9", ProcessFailure("no images", 1.0), "no images"),
        ("-11", None, "killed by signal 11"),
        ("1", ProcessFailure("NCCL error", 1.0, lost_touch=True), "NCCL error"),
        ("-15", None, "killed by signal 15"),
    ],
)
def test_reason_of_several_processes(fate, failure, reason):
    assert _reason(1, TABLE.format(fate), failure).startswith(reason)


@pytest.fixture
def cluster(monkeypatch):
    """Two Ray nodes on this machine that say they have one GPU each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
    nodes.add_node(num_cpus=2, num_gpus=1)
    yield nodes
    nodes.shutdown()


@pytest.mark.slow
def test_a_run_spans_two_nodes(cluster, tmp_path):
    with RayExecutor(address=cluster.address, command=script) as executor:
        executor.submit(make(tmp_path, gpus=2))
        assert executor.next_outcome(timeout=120).ok
        log = (tmp_path / "log.txt").read_text()
        assert "--nnodes 2 --node-rank 0" in log and "--nnodes 2 --node-rank 1" in log
        assert RunDirectory(tmp_path).result()["metrics"]["AP"] == 1.0  # the sum of the ranks
        # The GPUs are free again, and where one node's process fails, the run tells why and ends on both.
        executor.submit(make(tmp_path / "fails", 'raise SuiteError("no images")', gpus=2))
        outcome = executor.next_outcome(timeout=120)
        assert (outcome.ok, outcome.reason) == (False, "no images")
        assert executor.next_outcome() is None
