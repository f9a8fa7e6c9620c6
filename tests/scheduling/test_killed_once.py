"""A rehearsed run is killed after its first checkpoint, and started again."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

SCRIPT = """
    import os, pathlib, subprocess, sys, time
    run = pathlib.Path(sys.argv[1])
    with (run / "starts").open("a") as file:
        print(os.getpid(), file=file)
    if {fails}:
        {fails_by}
    checkpoint = run / "checkpoints" / "latest.pth"
    if checkpoint.exists():
        (run / "finished").touch()
        sys.exit(0)
    grandchild = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (run / "grandchild").write_text(str(grandchild.pid))
    checkpoint.parent.mkdir()
    checkpoint.touch()
    time.sleep(600)
"""


def rehearse(run: Path, fails_by: str = "") -> subprocess.CompletedProcess[str]:
    script = run / "training.py"
    script.write_text(textwrap.dedent(SCRIPT).format(fails=bool(fails_by), fails_by=fails_by or "pass"))
    command = [sys.executable, str(script), str(run)]
    return subprocess.run(
        [sys.executable, "-m", "suite.scheduling.rehearsal", str(run), *command],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def starts(run: Path) -> int:
    return len((run / "starts").read_text().splitlines())


def gone(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_it_is_killed_with_all_its_processes_and_resumed(tmp_path: Path) -> None:
    ended = rehearse(tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "killed after the first checkpoint; starts again" in ended.stdout
    assert starts(tmp_path) == 2 and (tmp_path / "finished").exists()
    grandchild = int((tmp_path / "grandchild").read_text())
    deadline = time.monotonic() + 5
    while not gone(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(grandchild)


def test_a_run_with_a_checkpoint_only_goes_on(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "latest.pth").touch()
    assert rehearse(tmp_path).returncode == 0
    assert starts(tmp_path) == 1


def test_a_failure_before_the_checkpoint_is_passed_on(tmp_path: Path) -> None:
    assert rehearse(tmp_path, "sys.exit(7)").returncode == 7
    assert starts(tmp_path) == 1


def test_a_signal_before_the_checkpoint_is_passed_on(tmp_path: Path) -> None:
    assert rehearse(tmp_path, "os.kill(os.getpid(), 9)").returncode == -9
