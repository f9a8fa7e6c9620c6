import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

pytest.register_assert_rewrite("contract")

from contract import LONG, PYTHONPATH, is_alive, make_job, pids_of, script_command  # noqa: E402

from suite.errors import SuiteError  # noqa: E402
from suite.files import write_json  # noqa: E402
from suite.runs.directory import BUSY, Progress, RunDirectory  # noqa: E402
from suite.runs.sharing import trained_by  # noqa: E402
from suite.scheduling import Job, LocalExecutor, Outcome, live, watch  # noqa: E402

TRAIN = """
for step in range(1, 5):
    line = {"step": step, "steps": 4, "epoch": step, "epochs": 4, "loss": 1 / step, "step_seconds": 0.2}
    with open(here / "metrics.jsonl", "a") as file: file.write(json.dumps(line) + "\\n")
    time.sleep(0.2)
succeed()
"""


@pytest.fixture(autouse=True)
def quick_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_REFRESH_SECONDS", 0.05)


def watch_all(jobs: list[Job], terminal: bool) -> tuple[list[Outcome], str]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, height=20, color_system=None)
    with LocalExecutor(cpus=1, gpus=0, command=script_command) as executor:
        outcomes = watch(executor, jobs, {job.run_id: RunDirectory(job.directory) for job in jobs}, console)
    return outcomes, text.getvalue()


def test_lines_where_output_is_a_file(tmp_path: Path) -> None:
    jobs = [
        make_job(tmp_path, "bad", "time.sleep(.3); print('error: no [images]'); sys.exit(1)"),
        make_job(tmp_path, "good", TRAIN),
    ]
    outcomes, text = watch_all(jobs, terminal=False)
    assert [(outcome.run_id, outcome.ok) for outcome in outcomes] == [("bad", False), ("good", True)]
    lines = text.splitlines()
    assert lines[0] == "started   bad"
    assert lines[1] == "failed    bad  no [images]  (1/2)"
    assert lines[2] == "started   good"
    assert any(line.startswith(" 50 %     good  epoch 2/4  loss 0.5  0 s left") for line in lines)
    assert lines[-1] == "finished  good  1 s  AP 0.250  (2/2)"


def test_a_reason_of_several_lines_takes_one_line_and_is_kept_whole(tmp_path: Path) -> None:
    body = "print('error: two images:\\n    a\\n    b\\n  -> Mend them.'); sys.exit(1)"
    (outcome,), text = watch_all([make_job(tmp_path, "bad", body)], terminal=False)
    assert outcome.reason == "two images:\n  a\n  b\n-> Mend them."
    assert RunDirectory(tmp_path / "bad").failure() == outcome.reason
    assert text.splitlines()[-1] == "failed    bad  two images: a b -> Mend them.  (1/1)"


def test_table_on_a_terminal(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, name, TRAIN) for name in ("first", "second")]
    outcomes, text = watch_all(jobs, terminal=True)
    assert len(outcomes) == 2
    for piece in (
        "running",
        "queued",
        "evaluating",
        "2/4",
        "0.25",
        "1 done · 0 failed · 1 running · 0 queued",
    ):
        assert piece in text
    assert "started" not in text
    assert "finished  first" in text


TRAINED = """
(here / "checkpoints").mkdir()
(here / "checkpoints" / "latest.pth").write_text("weights")
time.sleep(.2)
succeed()
"""
EVALUATES = """
if not (here / "checkpoints" / "latest.pth").exists(): print("error: trained itself"); sys.exit(1)
succeed()
"""


def watch_donors(jobs: list[Job], donors: dict[str, str]) -> list[Outcome]:
    runs = {job.run_id: RunDirectory(job.directory) for job in jobs}
    with LocalExecutor(cpus=2, gpus=0, command=script_command) as executor:
        return watch(executor, jobs, runs, Console(file=io.StringIO()), donors)


def test_a_run_starts_from_its_donors_training_when_that_has_ended(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "taker", EVALUATES), make_job(tmp_path, "donor", TRAINED)]
    outcomes = watch_donors(jobs, {"taker": "donor"})
    assert [(outcome.run_id, outcome.ok) for outcome in outcomes] == [("donor", True), ("taker", True)]
    assert trained_by(RunDirectory(tmp_path / "taker")) == "donor"


def test_where_the_donor_fails_the_run_trains_itself(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "donor", "sys.exit(1)"), make_job(tmp_path, "taker", EVALUATES)]
    outcomes = watch_donors(jobs, {"taker": "donor"})
    assert [(outcome.run_id, outcome.ok) for outcome in outcomes] == [("donor", False), ("taker", False)]
    assert outcomes[1].reason == "trained itself"
    assert trained_by(RunDirectory(tmp_path / "taker")) is None


ELSEWHERE = """
import sys, time
from pathlib import Path
from suite.files import write_json
from suite.locks import locked

run = Path(sys.argv[1])
with locked(run / ".lock"):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
    if sys.argv[2] == "completes":
        write_json(run / "result.json", {"evaluation": {}, "metrics": {"AP": 0.5}, "files": {}})
"""


def another_driver(run: Path, ending: str, seconds: float = 0.5) -> "subprocess.Popen[str]":
    """A process that works on a run, and completes it or dies."""
    write_json(run / "spec.json", {"run_id": run.name, "identity": {"evaluation": {}}})
    other = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, run, ending, str(seconds)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )  # fmt: skip
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    return other


STARTED = "(here / 'started').touch()\nsucceed()"


def test_a_run_that_another_driver_completes_is_waited_for(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "theirs", STARTED), make_job(tmp_path, "ours", STARTED)]
    with another_driver(tmp_path / "theirs", "completes"):
        outcomes, text = watch_all(jobs, terminal=False)
    ended = sorted((outcome.run_id, outcome.ok) for outcome in outcomes)  # whichever is noticed first
    assert ended == [("ours", True), ("theirs", True)]
    assert not (tmp_path / "theirs" / "started").exists()
    assert "waiting   theirs: another process works on it" in text.splitlines()
    assert "AP 0.500" in text
    assert RunDirectory(tmp_path / "theirs").failure() is None


def test_a_run_that_another_driver_gives_up_is_started_here(tmp_path: Path) -> None:
    job = make_job(tmp_path, "theirs", STARTED)
    with another_driver(tmp_path / "theirs", "dies"):
        outcomes, _ = watch_all([job], terminal=False)
    assert outcomes[0].ok and (tmp_path / "theirs" / "started").exists()


def test_a_child_that_finds_its_run_taken_has_not_failed(tmp_path: Path) -> None:
    """The other driver was faster by less than a look: the worker says so with its exit code."""
    taken = "import pathlib\nif not (here / 'again').exists():\n"
    taken += f"    (here / 'again').touch(); sys.exit({BUSY})\nsucceed()"
    outcomes, text = watch_all([make_job(tmp_path, "run", taken)], terminal=False)
    assert outcomes == [Outcome("run", ok=True)]
    assert "failed" not in text
    assert RunDirectory(tmp_path / "run").failure() is None


def test_refused_job_stops_those_before_it(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "fits", LONG), make_job(tmp_path, "large", LONG, gpus=8)]
    with pytest.raises(SuiteError, match="large needs 1 CPUs and 8 GPUs"):
        watch_all(jobs, terminal=False)


def test_time_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = 1000.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    jobs = [Job(name, tmp_path / name, 1, 0) for name in "abcd"]
    etas = {"a": 60.0, "b": 100.0}

    class Run:
        def __init__(self, name: str) -> None:
            self.name = name

        def progress(self) -> Progress | None:
            return Progress(1, 4, 1, 4, 0.5, etas[self.name]) if now > 1000.0 else None

    display = live._Display(jobs, {name: Run(name) for name in "abcd"}, Console(file=io.StringIO()))
    assert display.seconds_left() is None
    display.update(["a", "b"])
    now = 1020.0
    display.update(["a", "b"])
    # Whole runs take 80 and 120 s, 100 s on average; two are queued: 360 s of work, two side by side.
    assert display.seconds_left() == pytest.approx((60 + 100 + 2 * 100) / 2)
    # One ends, and its successor has not been seen yet: still two side by side.
    del display._rows["a"]
    assert display.seconds_left() == pytest.approx((100 + 2 * 120) / 2)
    del display._rows["c"], display._rows["d"]
    assert display.seconds_left() == pytest.approx(100)


INTERRUPTED = """
import sys
from pathlib import Path
from rich.console import Console
from contract import LONG, make_job, script_command
from suite.runs.directory import RunDirectory
from suite.scheduling import LocalExecutor, watch

job = make_job(Path(sys.argv[1]), "run", LONG)
with LocalExecutor(cpus=1, gpus=0, command=script_command) as executor:
    try:
        watch(executor, [job], {"run": RunDirectory(job.directory)}, Console())
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_ctrl_c_ends_the_runs_and_says_how_to_resume(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(INTERRUPTED)
    driver = subprocess.Popen(
        [sys.executable, script, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    pids = pids_of(Job("run", tmp_path / "run", 1, 0))
    os.killpg(driver.pid, signal.SIGINT)
    output, _ = driver.communicate(timeout=20)
    assert driver.returncode == 130
    assert "The same command resumes them" in " ".join(output.split())
    assert not any(is_alive(pid) for pid in pids)
    assert RunDirectory(tmp_path / "run").failure() is None
