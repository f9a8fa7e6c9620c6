import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.register_assert_rewrite("contract")

from contract import LONG, is_alive, make_job, pids_of, script_command, wait_until  # noqa: E402

from suite.scheduling import guard  # noqa: E402
from suite.scheduling.child import Child, _reason, run_child  # noqa: E402

TORCHRUN = """
Root Cause (first observed failure):
  time      : 2026-01-01_00:00:00
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 4711)
  traceback : Signal 9 (SIGKILL) received by PID 4711
============================================================
"""


@pytest.mark.parametrize(
    ("code", "log", "reason"),
    [
        (1, TORCHRUN, "killed by signal 9 (out of memory?)"),
        (1, TORCHRUN.replace("-9", "1") + "error: no images", "no images"),
        (-11, "error: not this", "killed by signal 11"),
        (2, "Traceback\n  File x\nKeyError: 'y'\n\n", "exit code 2: KeyError: 'y'"),
        (2, "", "exit code 2, nothing printed"),
        (
            1,
            "error: first\n  more\nerror: two images:\n    a\n    b\n  -> Mend them.\n",
            "two images:\n  a\n  b\n-> Mend them.",
        ),
        (1, "error: two images:\n  a\nbye\n  indented\n", "two images:\na"),
        (1, "error: last\n\n  after a blank line\n", "last"),
        (1, f"error: {'x' * 3000}", f"{'x' * 2000} ..."),
        (1, "y" * 3000, f"exit code 1: {'y' * 2000} ..."),
    ],
)
def test_reason(code: int, log: str, reason: str) -> None:
    assert _reason(code, log) == reason


def test_reason_is_found_in_the_end_of_a_long_log(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "print('x' * 300_000); print('error: late'); sys.exit(1)")
    assert run_child(job, script_command, Path.cwd()).reason == "late"


def test_command_that_cannot_start(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "")
    outcome = run_child(job, lambda job: (["/no/such/program"], {}), Path.cwd())
    assert outcome.reason == "cannot start /no/such/program (No such file or directory)"


def test_missing_current_directory_is_a_reason(tmp_path: Path) -> None:
    outcome = run_child(make_job(tmp_path, "run", ""), script_command, tmp_path / "gone")
    assert "gone: no such directory on " in outcome.reason


def test_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "spread(); wait_for('go'); succeed()")
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(Child(job, script_command, Path.cwd())))
    thread.start()
    thread.join()
    pids_of(job)
    (tmp_path / "go").touch()
    assert children[0].wait().ok


def test_child_dies_with_a_forgotten_handle(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", LONG)
    child = Child(job, script_command, Path.cwd())
    pids = pids_of(job)
    del child
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_child_dies_with_its_guard(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", LONG)
    with Child(job, script_command, Path.cwd()) as child:
        process = pids_of(job)[0]
        guard_process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(guard_process, signal.SIGKILL)
        wait_until(lambda: not is_alive(process))
        assert child.wait().reason.startswith("killed by signal 9")
    os.kill(pids_of(job)[1], signal.SIGKILL)  # the grandchild had only the guard


def test_stopped_guard_does_not_hold_up_a_kill_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.scheduling.child._KILL_SECONDS", 0.3)
    job = make_job(tmp_path, "run", LONG)
    with Child(job, script_command, Path.cwd()):
        pids = pids_of(job)
        guard_process = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(guard_process, signal.SIGSTOP)
    wait_until(lambda: not is_alive(pids[0]))
    os.kill(pids[1], signal.SIGKILL)


@pytest.mark.parametrize(
    ("body", "code"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 11)", -11)]
)
def test_guard_ends_as_its_command_ended(body: str, code: int) -> None:
    argv = [sys.executable, "-I", "-S", guard.__file__, sys.executable, "-S", "-c", body]
    read_end, write_end = os.pipe()
    assert subprocess.run(argv, stdin=read_end, check=False).returncode == code
    os.close(read_end)
    os.close(write_end)
