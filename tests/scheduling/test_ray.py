import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("contract")

from contract import PYTHONPATH, ExecutorContract, collect, make_job, script_command  # noqa: E402

from suite.errors import SuiteError  # noqa: E402
from suite.scheduling import RayExecutor  # noqa: E402


@pytest.fixture(scope="module")
def shared_executor() -> Iterator[RayExecutor]:
    # Starting Ray takes seconds: once for all tests. Each test takes all of its outcomes.
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        patch.setenv("PYTHONPATH", PYTHONPATH)
        with RayExecutor(cpus=2, gpus=1, command=script_command) as executor:
            yield executor


class TestRayExecutor(ExecutorContract):
    source = "RayExecutor(cpus=2, gpus=0, command=script_command)"

    @pytest.fixture
    def executor(self, shared_executor: RayExecutor) -> RayExecutor:
        return shared_executor


def test_run_is_started_again_when_its_ray_worker_is_lost(
    shared_executor: RayExecutor, tmp_path: Path
) -> None:
    lose_the_worker = """
if not (here / "again").exists():
    (here / "again").touch()
    def parent(pid): return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent(parent(os.getppid())), signal.SIGKILL)
    time.sleep(600)
succeed()"""
    shared_executor.submit(make_job(tmp_path, "run", lose_the_worker))
    assert collect(shared_executor)["run"].ok
    assert (tmp_path / "run" / "log.txt").read_text().count("===") == 2


def test_failed_child_is_not_started_again(shared_executor: RayExecutor, tmp_path: Path) -> None:
    shared_executor.submit(make_job(tmp_path, "run", "os.kill(os.getpid(), signal.SIGKILL)"))
    assert not collect(shared_executor)["run"].ok
    assert (tmp_path / "run" / "log.txt").read_text().count("===") == 1


def test_own_ray_asks_for_a_token(shared_executor: RayExecutor) -> None:
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) >= 32


def test_sizes_of_a_named_cluster_are_refused() -> None:
    with pytest.raises(SuiteError, match="its own"):
        RayExecutor(address="head:6379", cpus=4)


@pytest.mark.parametrize("address", ["auto", "head", "ray://head:10001"])
def test_address_is_host_and_port(address: str) -> None:
    with pytest.raises(SuiteError, match="expected HOST:PORT"):
        RayExecutor(address=address)


def test_cluster_that_does_not_answer_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SuiteError, match=f"127.0.0.1:{port}: nothing answers"):
        RayExecutor(address=f"127.0.0.1:{port}")
