"""What makes a study the same: changes are refused, and so are two drivers and lost trials."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.tuning import definition as module
from suite.tuning.definition import definition, fingerprint, only_driver, open_study
from suite.tuning.storage import JOURNAL
from suite.tuning.study_plan import StudyPlan

from .cases import TPE

MakePlan = Callable[..., StudyPlan]
CarryOut = Callable[..., tuple[Any, str]]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (
            {"space": {"K": {"type": "int", "low": 1, "high": 30}}},
            'space.K: {"type": "int", "low": 1, "high": 40} -> {"type": "int", "low": 1, "high": 30}',
        ),
        ({"sampler": {"name": "random", "seed": 1}}, "sampler.seed: 0 -> 1"),
        ({"sampler": TPE}, 'sampler.name: "random" -> "tpe"'),
        ({"objectives": [{"metric": "train_hours", "direction": "minimize"}]}, "objectives: "),
        ({"constraints": [{"metric": "step_seconds", "at_most": 1.0}]}, "constraints: [] -> "),
        ({"seeds": [0, 1]}, "seeds: [0] -> [0, 1]"),
        ({"options": {"lr": 0.01}}, "optim_wrapper.optimizer.lr: "),
        ({"method": "ltm_positive"}, 'method: "ltm" -> "ltm_positive"'),
    ],
)
def test_another_definition_is_refused_with_the_difference(
    plan_of: MakePlan, changes: dict[str, Any], difference: str
) -> None:
    plan = plan_of()
    plan.folder.mkdir(parents=True)
    open_study(plan, None).ask()
    with pytest.raises(SuiteError) as caught:
        open_study(plan_of(**changes), None)
    assert "was begun with another definition" in str(caught.value)
    assert difference in str(caught.value)
    open_study(plan, None)


def test_another_dataset_or_code_is_refused(
    plan_of: MakePlan, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of()
    plan.folder.mkdir(parents=True)
    open_study(plan, None)
    other = replace(plan, dataset=replace(dataset, train=replace(dataset.train, fingerprint="0" * 64)))
    with pytest.raises(SuiteError, match="the training images or annotations changed"):
        open_study(other, None)
    original = StudyPlan.run

    def with_other_code(self: StudyPlan, *arguments: Any) -> Any:
        run = original(self, *arguments)
        training = {**run.identity.training, "suite.detectors.ltm_head": "changed"}
        return replace(run, identity=replace(run.identity, training=training))

    monkeypatch.setattr(StudyPlan, "run", with_other_code)
    with pytest.raises(SuiteError, match=r"detectors/ltm_head\.py changed"):
        open_study(plan, None)


def test_another_number_of_gpus_is_refused(plan_of: MakePlan) -> None:
    plan = plan_of(gpus=4.0)
    plan.folder.mkdir(parents=True)
    open_study(plan, None)
    with pytest.raises(SuiteError, match=r"machine\.processes: 4 -> 2"):
        open_study(plan_of(gpus=2.0), None)


def test_trials_parallel_resources_and_title_may_change(plan_of: MakePlan) -> None:
    plan = plan_of()
    plan.folder.mkdir(parents=True)
    open_study(plan, None).ask()
    changed = plan_of(trials=99, parallel=7, cpus=0.5, gpus=0.0, title="Another title")
    assert len(open_study(changed, None).trials) == 1
    assert fingerprint(definition(plan)) == fingerprint(definition(changed))


def test_a_preset_has_a_study_of_its_own(plan_of: MakePlan) -> None:
    plan = plan_of()
    plan.folder.mkdir(parents=True)
    open_study(plan, None).ask()
    mini = replace(plan, preset="mini")
    mini.folder.mkdir(parents=True)
    assert len(open_study(mini, None).trials) == 0


def test_a_study_that_was_killed_before_its_definition_goes_on(plan_of: MakePlan) -> None:
    plan = plan_of()
    plan.folder.mkdir(parents=True)
    open_study(plan, None)
    journal = plan.folder / JOURNAL
    first = journal.read_bytes().splitlines(keepends=True)[:1]
    journal.write_bytes(b"".join(first))
    assert open_study(plan, None).user_attrs["fingerprint"] == fingerprint(definition(plan))


def test_a_journal_that_lost_trials_is_refused(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of()
    carry_out(plan)
    journal = plan.folder / JOURNAL
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) // 2])
    with pytest.raises(SuiteError, match=r"the storage has \d trials, and trials.json lists 6"):
        open_study(plan, None)


def test_a_journal_that_lost_only_the_end_of_trials_goes_on(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of()
    study, _ = carry_out(plan)
    values = [trial.value for trial in study.trials]
    journal = plan.folder / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:9])
    study, _ = carry_out(plan)
    assert [trial.value for trial in study.trials] == values


def test_another_storage_for_a_study_under_way_is_refused(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of()
    carry_out(plan)
    with pytest.raises(SuiteError, match="begun in another storage"):
        open_study(plan, f"sqlite:///{plan.folder / 'other.db'}")


HOLDER = """
import sys, time
from types import SimpleNamespace
from pathlib import Path
from suite.tuning.definition import only_driver
study = SimpleNamespace(name="tiny")
with only_driver(SimpleNamespace(folder=Path(sys.argv[1]), study=study, preset="smoke")):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_refused_until_the_first_is_gone(plan_of: MakePlan) -> None:
    plan = plan_of()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(plan.folder)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])},
    )  # fmt: skip
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(SuiteError, match="another process runs study 'tiny'"), only_driver(plan):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]
    with only_driver(plan):
        pass
