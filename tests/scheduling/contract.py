"""What every executor must pass: :class:`ExecutorContract`, with real child processes.

The children are small scripts instead of trainings. ``script_command`` is importable by name, so that it
reaches Ray's workers; they need this folder in their ``PYTHONPATH``.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.runs.directory import RunDirectory
from suite.scheduling import Executor, Job, Outcome

WAIT = 30.0
PYTHONPATH = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])

PRELUDE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
here = Path(sys.argv[1])
shared = here.parent

def succeed():
    (here / "result.json").write_text(json.dumps({"metrics": {"AP": 0.25}, "files": {}}))

def wait_for(name):
    deadline = time.monotonic() + 20
    while not (shared / name).exists():
        assert time.monotonic() < deadline, f"{name} never came"
        time.sleep(0.02)

def spread():
    "Start a process below this one in a session of its own, and tell the ids of both."
    below = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    (here / "pids.tmp").write_text(f"{os.getpid()} {below.pid}")
    (here / "pids.tmp").rename(here / "pids")
"""  # noqa: E501

LONG = "spread()\ntime.sleep(600)"


def script_command(job: Job) -> tuple[list[str], dict[str, str]]:
    """Runs the job's script in place of the worker."""
    return [sys.executable, "-S", str(job.directory / "script.py"), str(job.directory)], {"MARK": "set"}


def make_job(root: Path, run_id: str, body: str, cpus: float = 1, gpus: float = 0) -> Job:
    """A run directory whose child runs ``body``."""
    directory = root / run_id
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "script.py").write_text(PRELUDE + body)
    return Job(run_id, directory, cpus, gpus)


def collect(executor: Executor) -> dict[str, Outcome]:
    """Outcomes of all jobs, by run id."""
    outcomes = {}
    while (outcome := executor.next_outcome(timeout=WAIT)) is not None:
        assert outcome.run_id not in outcomes
        outcomes[outcome.run_id] = outcome
    return outcomes


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = WAIT) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition never held"
        time.sleep(0.02)


def pids_of(job: Job) -> list[int]:
    """Ids of a LONG script and of the process below it, once it has told them."""
    wait_until((job.directory / "pids").exists)
    return [int(pid) for pid in (job.directory / "pids").read_text().split()]


DRIVER = """
import sys, time
from pathlib import Path
from contract import LONG, make_job, pids_of, script_command
from suite.scheduling import LocalExecutor, RayExecutor

if __name__ == "__main__":
    root = Path(sys.argv[1])
    executor = {executor}
    (root / "temporary").write_text(str(getattr(executor, "_temporary", "")))
    executor.submit(make_job(root, "long", LONG, cpus=2))
    executor.submit(make_job(root, "queued", LONG, cpus=2))
    pids_of(make_job(root, "long", LONG))
    if sys.argv[2] == "close":
        executor.close()
        (root / "closed").touch()
    time.sleep(600)
"""


class ExecutorContract:
    """Tests of the promises in :class:`suite.scheduling.Executor`.

    A subclass gives ``executor``, with 2 CPUs, one GPU that need not exist and ``script_command``, and
    ``source``, the expression that makes such an executor in another process.
    """

    source: str

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        raise NotImplementedError

    def test_runs_side_by_side_up_to_capacity(self, executor: Executor, tmp_path: Path) -> None:
        meet = "(shared / '{0}.in').touch(); wait_for('{1}.in'); time.sleep(.3)\n"
        meet += "(shared / '{0}.out').touch(); succeed()"
        executor.submit(make_job(tmp_path, "a", meet.format("a", "b")))
        executor.submit(make_job(tmp_path, "b", meet.format("b", "a")))
        late = "assert (shared / 'a.out').exists() or (shared / 'b.out').exists(), 'too early'\nsucceed()"
        executor.submit(make_job(tmp_path, "c", late))
        assert all(outcome.ok for outcome in collect(executor).values())

    def test_starts_in_order_of_submission(self, executor: Executor, tmp_path: Path) -> None:
        names = ["d", "b", "a", "c"]
        for name in names:
            body = f"with open(shared / 'order', 'a') as file: file.write('{name}')\nsucceed()"
            executor.submit(make_job(tmp_path, name, body, cpus=2))
        assert all(outcome.ok for outcome in collect(executor).values())
        assert (tmp_path / "order").read_text() == "dbac"

    def test_failures_tell_their_reason_and_leave_others_alone(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        bodies = {
            "raises": "raise ValueError('boom')",
            "says": "print('error: first'); print('error: no images in x'); print('bye'); sys.exit(3)",
            "killed": "os.kill(os.getpid(), signal.SIGKILL)",
            "terminated": "os.kill(os.getpid(), signal.SIGTERM)",
            "empty": "pass",
            "good": "succeed()",
        }
        for name, body in bodies.items():
            executor.submit(make_job(tmp_path, name, body))
        reasons = {name: outcome.reason for name, outcome in collect(executor).items()}
        assert reasons == {
            "raises": "exit code 1: ValueError: boom",
            "says": "no images in x",
            "killed": "killed by signal 9 (out of memory?)",
            "terminated": "killed by signal 15",
            "empty": "the child exited with 0, but no result yet",
            "good": "",
        }
        for name, reason in reasons.items():
            assert RunDirectory(tmp_path / name).failure() == (reason or None)

    def test_next_attempt_forgets_the_failure_and_appends_to_the_log(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        executor.submit(
            make_job(tmp_path, "run", "print('one'); print('error: bad', file=sys.stderr); sys.exit(1)")
        )
        assert collect(executor)["run"].reason == "bad"
        executor.submit(make_job(tmp_path, "run", "print('two'); succeed()"))
        assert collect(executor)["run"] == Outcome("run", ok=True, reason="")
        run = RunDirectory(tmp_path / "run")
        assert run.failure() is None
        lines = run.log_file.read_text().splitlines()
        assert [line for line in lines if not line.startswith("===")] == ["one", "error: bad", "two"]

    def test_reason_is_of_this_attempt(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(make_job(tmp_path, "run", "print('error: old'); sys.exit(1)"))
        collect(executor)
        executor.submit(make_job(tmp_path, "run", "sys.exit(4)"))
        assert collect(executor)["run"].reason == "exit code 4, nothing printed"

    def test_outcomes_one_a_job_and_timeouts(self, executor: Executor, tmp_path: Path) -> None:
        start = time.monotonic()
        assert executor.next_outcome() is None
        job = make_job(tmp_path, "run", "wait_for('go'); succeed()")
        executor.submit(job)
        with pytest.raises(ValueError, match="run"):
            executor.submit(job)
        assert executor.next_outcome(timeout=0.1) is None
        assert time.monotonic() - start < 10
        (tmp_path / "go").touch()
        assert executor.next_outcome() == Outcome("run", ok=True, reason="")
        assert executor.next_outcome() is None

    def test_running_leaves_out_the_queue(self, executor: Executor, tmp_path: Path) -> None:
        body = "(shared / 'in').touch(); wait_for('go'); succeed()"
        executor.submit(make_job(tmp_path, "first", body, cpus=2))
        executor.submit(make_job(tmp_path, "second", body, cpus=2))
        wait_until((tmp_path / "in").exists)
        assert executor.running() == ["first"]
        (tmp_path / "go").touch()
        assert len(collect(executor)) == 2
        assert executor.running() == []

    def test_cancel_ends_all_processes_and_lets_the_queue_move_up(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        job = make_job(tmp_path, "long", LONG, cpus=2)
        executor.submit(job)
        executor.submit(make_job(tmp_path, "next", "succeed()", cpus=2))
        pids = pids_of(job)
        assert all(is_alive(pid) for pid in pids)
        executor.cancel("long")
        outcome = executor.next_outcome(timeout=WAIT)
        assert outcome == Outcome("long", ok=False, reason="cancelled")
        assert not any(is_alive(pid) for pid in pids)
        assert RunDirectory(job.directory).failure() is None
        assert collect(executor)["next"].ok
        executor.cancel("long")
        executor.cancel("unknown")

    def test_cancelled_in_the_queue_never_starts(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(make_job(tmp_path, "first", "wait_for('go'); succeed()", cpus=2))
        executor.submit(make_job(tmp_path, "second", "(shared / 'ran').touch()", cpus=2))
        executor.cancel("second")
        (tmp_path / "go").touch()
        outcomes = collect(executor)
        assert outcomes["first"].ok and outcomes["second"].reason == "cancelled"
        assert not (tmp_path / "ran").exists()

    def test_cancelled_at_once(self, executor: Executor, tmp_path: Path) -> None:
        for index in range(4):
            executor.submit(make_job(tmp_path, f"run{index}", LONG))
            time.sleep(0.02 * index)
            executor.cancel(f"run{index}")
        outcomes = collect(executor)
        assert {outcome.reason for outcome in outcomes.values()} == {"cancelled"} and len(outcomes) == 4
        told = [path for path in tmp_path.glob("*/pids")]
        assert not any(is_alive(int(pid)) for path in told for pid in path.read_text().split())

    def test_nothing_is_left_of_a_run_that_ended(self, executor: Executor, tmp_path: Path) -> None:
        job = make_job(tmp_path, "run", "spread(); succeed()")
        executor.submit(job)
        assert collect(executor)["run"].ok
        assert not any(is_alive(pid) for pid in pids_of(job))

    def test_fractions_share_a_gpu(self, executor: Executor, tmp_path: Path) -> None:
        tell = "(here / 'gpu').write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        meet = tell + "(shared / '{0}.in').touch(); wait_for('{1}.in'); (shared / 'met').touch(); succeed()"
        executor.submit(make_job(tmp_path, "a", meet.format("a", "b"), cpus=0.5, gpus=0.5))
        executor.submit(make_job(tmp_path, "b", meet.format("b", "a"), cpus=0.5, gpus=0.5))
        whole = tell + "assert (shared / 'met').exists()\nsucceed()"
        executor.submit(make_job(tmp_path, "c", whole, cpus=0.5, gpus=1))
        assert all(outcome.ok for outcome in collect(executor).values())
        assert {name: (tmp_path / name / "gpu").read_text() for name in "abc"} == dict.fromkeys("abc", "0")

    @pytest.mark.parametrize(
        ("cpus", "gpus", "named"),
        [
            (1, 8, "needs 1 CPUs and 8 GPUs on one machine; available: 2 CPUs and 1 GPUs"),
            (99, 0, "needs 99 CPUs"),
            (1, 1.5, "gpus=1.5"),
            (0, 0, "cpus=0"),
        ],
    )
    def test_impossible_needs_are_refused(
        self, executor: Executor, tmp_path: Path, cpus: float, gpus: float, named: str
    ) -> None:
        with pytest.raises(SuiteError, match=named) as caught:
            executor.submit(make_job(tmp_path, "run", "succeed()", cpus, gpus))
        assert caught.value.remedy
        assert executor.next_outcome() is None

    def test_missing_directory_is_a_reason(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(Job("run", tmp_path / "absent", 1, 0))
        assert "absent: no such directory on " in collect(executor)["run"].reason

    def test_child_has_the_command_s_environment_and_the_driver_s_place(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        body = """
values = [os.environ["MARK"], os.getcwd(), os.getpriority(os.PRIO_PROCESS, 0), sys.stdin.read()]
(here / "values").write_text(json.dumps(values)); succeed()"""
        executor.submit(make_job(tmp_path, "run", body))
        assert collect(executor)["run"].ok
        values = json.loads((tmp_path / "run" / "values").read_text())
        assert values == ["set", os.getcwd(), os.getpriority(os.PRIO_PROCESS, 0), ""]

    @pytest.mark.parametrize("ending", ["close", "SIGKILL"])
    def test_nothing_outlives_the_driver(self, tmp_path: Path, ending: str) -> None:
        driver_file = tmp_path / "driver.py"
        driver_file.write_text(DRIVER.format(executor=self.source))
        argv = [sys.executable, driver_file, tmp_path, ending]
        with open(tmp_path / "driver.log", "w") as log:
            environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
            driver = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
        try:
            pids = pids_of(Job("long", tmp_path / "long", 2, 0))
            if ending == "close":
                wait_until((tmp_path / "closed").exists)
            else:
                assert all(is_alive(pid) for pid in pids)
                os.kill(driver.pid, signal.SIGKILL)
            wait_until(lambda: not any(is_alive(pid) for pid in pids), 15)
            assert not (tmp_path / "queued" / "pids").exists()
        finally:
            driver.kill()
            driver.wait()
            # Ray's folder: only a driver that ends in order removes its own.
            if (temporary := (tmp_path / "temporary").read_text()).startswith("/tmp/ray-"):
                shutil.rmtree(temporary, ignore_errors=True)
            print((tmp_path / "driver.log").read_text())
