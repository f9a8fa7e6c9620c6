"""SIGKILL of the driver at random moments, and of a worker: the study ends complete and consistent."""

import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from suite.files import read_json
from suite.scheduling import LocalExecutor
from suite.tuning import driver
from suite.tuning.definition import only_driver, open_study
from suite.tuning.storage import JOURNAL
from suite.tuning.study_plan import StudyPlan

from .cases import TPE, VALUE, Script, quiet

TRIALS = 24
KILLS = 25


def _drive(plan: StudyPlan, script: Script) -> None:
    """What `suite tune` does, without data and report."""
    with only_driver(plan):
        study = open_study(plan, None)
        with LocalExecutor(cpus=2, gpus=0, command=script) as executor:
            made = driver.Driver(plan, study, None, executor, 2, quiet())  # type: ignore[arg-type]
            made.run(TRIALS)


def _forked(plan: StudyPlan, script: Script) -> int:
    """A driver in a process of its own; forked, so that it need not import anything."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _drive(plan, script)
        code = 0
    except BaseException:
        (plan.workspace.root / "error").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def _ended(child: int, seconds: float) -> int | None:
    """The exit status of a process that ends within some seconds, or None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.005)
    return None


def test_killed_at_random_moments_it_ends_complete(plan_of: Callable[..., StudyPlan], tmp_path: Path) -> None:
    plan = plan_of(sampler=TPE, trials=TRIALS)
    plan.run({"K": 1, "beta": 0.5}, 0)  # configs are read once, before the forks
    # Seeds fixed: the same moments each time, from within the first write to within the last trials.
    moments = random.Random(7)
    # The last trials wait, so that a fast machine is not done before the kills are.
    gate = f"if len(list(here.parent.glob('*/result.json'))) > {TRIALS - 4}:\n    wait_for('enough')\n"
    script = Script(tmp_path, f"time.sleep(0.2)\n{gate}{VALUE}")
    journal = plan.folder / JOURNAL
    kills = 0
    ended_before: dict[int, float] = {}
    while True:
        child = _forked(plan, script)
        status = _ended(child, moments.uniform(0.01, 0.7)) if kills < KILLS else _ended(child, 60)
        if status is not None:
            assert status == 0, (tmp_path / "error").read_text()
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        if kills == KILLS:
            (plan.workspace.runs / "enough").touch()
        if kills % 5 == 0 and journal.exists():  # the machine stopped in the middle of a write
            with journal.open("ab") as stream:
                stream.write(b'{"op_code": 5, "worker_id": "x", "tri')
        if (plan.folder / "trials.json").exists():
            ended = {row["number"]: row["value"] for row in read_json(plan.folder / "trials.json")
                     if row["state"] == "COMPLETE"}  # fmt: skip
            assert ended.items() >= ended_before.items()  # no finished trial is lost or told again
            ended_before = ended
    assert kills == KILLS
    study = open_study(plan, None)
    assert [trial.number for trial in study.trials] == list(range(TRIALS))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    for trial in study.trials:
        assert trial.value == pytest.approx(trial.params["K"] + trial.params["beta"])
        run = plan.run(trial.user_attrs["options"], 0)
        assert trial.user_attrs["run_ids"] == [run.run_id]
        assert run.is_done
        # Interrupted runs start again; finished ones never do.
        assert set((run.directory.path / "starts").read_text().split()) == {"start"}
    listed = read_json(plan.folder / "trials.json")
    assert [(row["number"], row["value"]) for row in listed] == [
        (trial.number, trial.value) for trial in study.trials
    ]


def test_a_killed_worker_fails_its_trial_alone(
    plan_of: Callable[..., StudyPlan], carry_out: Callable[..., object]
) -> None:
    body = f"if (here.parent / 'once').exists():\n    {VALUE}\nelse:\n    (here.parent / 'once').touch()\n"
    body += "    os.kill(os.getpid(), 9)"
    study, _ = carry_out(plan_of(trials=4, parallel=1), body)  # type: ignore[misc]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, *[TrialState.COMPLETE] * 3]
    assert "killed by signal 9" in study.trials[0].user_attrs["reason"]
