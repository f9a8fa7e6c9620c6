"""Trials through an executor: their numbers, how they end, and going on after an interruption."""

import json
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from suite.files import read_json
from suite.runs.directory import RunDirectory
from suite.tuning import driver
from suite.tuning.definition import open_study
from suite.tuning.space import suggest
from suite.tuning.study_plan import StudyPlan

from .cases import MEDIAN, TPE

MakePlan = Callable[..., StudyPlan]
CarryOut = Callable[..., tuple[Any, str]]


def _starts(plan: StudyPlan) -> dict[str, list[str]]:
    return {
        path.parent.name: path.read_text().split() for path in sorted(plan.workspace.runs.glob("*/starts"))
    }


def test_every_trial_is_an_ordinary_run_with_its_own_number(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of()
    study, text = carry_out(plan)
    assert [trial.number for trial in study.trials] == list(range(6))
    for trial in study.trials:
        assert trial.state is TrialState.COMPLETE
        assert trial.value == pytest.approx(trial.params["K"] + trial.params["beta"])
        run = RunDirectory(plan.workspace.runs / trial.user_attrs["run_ids"][0])
        assert run.spec()["options"] == trial.params == trial.user_attrs["options"]
        assert run.config_file.exists() and run.result() is not None
    assert all(starts == ["start"] for starts in _starts(plan).values())
    assert text.count("finished") == 6
    listed = read_json(plan.folder / "trials.json")
    assert [row["value"] for row in listed] == [trial.value for trial in study.trials]
    assert {row["state"] for row in listed} == {"COMPLETE"}


def test_trials_run_side_by_side_and_are_refilled_without_a_barrier(
    plan_of: MakePlan, carry_out: CarryOut
) -> None:
    # The first trial ends only when the third has started: a batch of two would wait for ever.
    body = """
order = here.parent / "order"
with open(order, "a") as file: file.write("x")
number = len(order.read_text())
if number == 1:
    wait_for("third")
if number == 3:
    (here.parent / "third").touch()
finish(step_seconds=1.0)
"""
    study, _ = carry_out(plan_of(trials=3), body)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


def test_an_equal_run_costs_nothing(plan_of: MakePlan, carry_out: CarryOut) -> None:
    space = {"K": {"type": "categorical", "choices": [5, 6]}}
    plan = plan_of(space=space, trials=8)
    study, _ = carry_out(plan)
    assert len(study.trials) == 8
    assert {trial.value for trial in study.trials} == {5.0, 6.0}
    assert list(_starts(plan).values()) == [["start"], ["start"]]


def test_a_failure_is_recorded_with_its_reason_and_the_study_goes_on(
    plan_of: MakePlan, carry_out: CarryOut
) -> None:
    space = {"K": {"type": "int", "low": 1, "high": 4}}
    plan = plan_of(space=space, sampler={"name": "grid", "seed": 0}, trials=4)
    body = "if options['K'] == 3:\n    print('error: no\\n  [luck]'); sys.exit(3)\nfinish(step_seconds=1.0)"
    study, text = carry_out(plan, body)
    failed = [trial for trial in study.trials if trial.state is TrialState.FAIL]
    assert [trial.params["K"] for trial in failed] == [3]
    assert failed[0].user_attrs["reason"].endswith("no\n[luck]")
    assert "no [luck]" in text
    assert sum(trial.state is TrialState.COMPLETE for trial in study.trials) == 3


def test_a_run_without_the_metric_fails_its_trial(plan_of: MakePlan, carry_out: CarryOut) -> None:
    study, _ = carry_out(plan_of(trials=1), "finish()")
    assert study.trials[0].state is TrialState.FAIL
    assert "step_seconds is undefined" in study.trials[0].user_attrs["reason"]


def test_options_that_are_illegal_together_fail_their_trial(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(options={"S": 20}, space={"K": {"type": "categorical", "choices": [10]}}, trials=1)
    study, _ = carry_out(plan)
    assert study.trials[0].state is TrialState.FAIL
    assert "bag_size" in study.trials[0].user_attrs["reason"]


def test_a_grid_visits_each_point_once(plan_of: MakePlan, carry_out: CarryOut) -> None:
    space = {
        "K": {"type": "int", "low": 10, "high": 30, "step": 10},
        "beta": {"type": "float", "low": 0.3, "high": 0.5, "step": 0.1},
    }
    plan = plan_of(space=space, sampler={"name": "grid", "seed": 3}, trials=9)
    study, _ = carry_out(plan)
    points = [
        (trial.user_attrs["options"]["K"], trial.user_attrs["options"]["beta"]) for trial in study.trials
    ]
    assert sorted(points) == [(K, beta) for K in (10, 20, 30) for beta in (0.3, 0.4, 0.5)]


def test_conditional_options_exist_only_where_their_condition_holds(
    plan_of: MakePlan, carry_out: CarryOut
) -> None:
    space = {
        "fixed_number": {"type": "int", "low": 2, "high": 9, "when": {"separation": "fixed_number"}},
        "separation": {"type": "categorical", "choices": ["c", "fixed_number"]},
    }
    body = "finish(step_seconds=float('fixed_number' in options))"
    study, _ = carry_out(plan_of(method="paa", space=space, trials=12), body)
    for trial in study.trials:
        assert ("fixed_number" in trial.params) == (trial.params["separation"] == "fixed_number")
        assert trial.value == float("fixed_number" in trial.params)
    assert {trial.value for trial in study.trials} == {0.0, 1.0}


def test_a_trial_of_several_seeds_is_their_mean(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(seeds=[0, 1, 4], trials=2)
    study, _ = carry_out(plan, "finish(step_seconds=spec['seed'])")
    for trial in study.trials:
        assert len(trial.user_attrs["run_ids"]) == 3
        assert trial.value == pytest.approx(5 / 3)


def test_constraints_decide_which_trial_is_best(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(
        space={"K": {"type": "int", "low": 1, "high": 6}},
        sampler={"name": "grid", "seed": 0},
        objectives=[{"metric": "step_seconds", "direction": "maximize"}],
        constraints=[{"metric": "peak_memory_mb", "at_most": 30}],
    )
    study, _ = carry_out(plan)
    assert study.best_trial.params == {"K": 3}
    broken = [trial for trial in study.trials if trial.constraints["peak_memory_mb"] > 0]
    assert sorted(trial.params["K"] for trial in broken) == [4, 5, 6]


def test_several_objectives_give_a_front(plan_of: MakePlan, carry_out: CarryOut) -> None:
    nsgaii = {"name": "nsgaii", "seed": 0, "population_size": 4, "mutation_prob": None, "crossover_prob": 0.9,
              "swapping_prob": 0.5}  # fmt: skip
    plan = plan_of(
        objectives=[
            {"metric": "step_seconds", "direction": "minimize"},
            {"metric": "peak_memory_mb", "direction": "maximize"},
        ],
        sampler=nsgaii,
        trials=10,
    )
    body = "finish(step_seconds=options['beta'], peak_memory_mb=100 * options['beta'] * (options['K'] > 20))"
    study, _ = carry_out(plan, body)
    large = [trial.number for trial in study.trials if trial.params["K"] > 20]
    small = min(study.trials, key=lambda trial: trial.values[0]).number
    front = {trial.number for trial in study.best_trials}
    assert front == {*large, small}


@pytest.fixture
def ap_from_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """AP without detections: the script writes it into the result."""

    def measured(truth: Any, runs: list[RunDirectory], metrics: list[str]) -> dict[str, float]:
        return {metric: 100 * (runs[0].result() or {})[metric] for metric in metrics}

    monkeypatch.setattr(driver, "measure", measured)


PRUNED = """
quality = options["K"] / 100
for epoch in range(1, 4):
    validate(epoch, quality * epoch)
    if options["K"] <= 10:
        time.sleep(0.3)
if options["K"] <= 10:
    time.sleep(20)
finish(AP=quality * 3)
"""
AP = [{"metric": "AP", "direction": "maximize"}]


def test_a_hopeless_trial_is_pruned_and_its_run_can_go_on(
    plan_of: MakePlan, carry_out: CarryOut, ap_from_the_result: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StudyPlan, "run", _with_epochs(StudyPlan.run, 8))
    space = {"K": {"type": "int", "low": 10, "high": 50, "step": 10}}
    plan = plan_of(space=space, objectives=AP, pruner=MEDIAN, trials=5, parallel=1)
    study = _enqueued(plan, [20, 30, 40, 10, 50])
    study, text = carry_out(plan, PRUNED)
    pruned = [trial for trial in study.trials if trial.state is TrialState.PRUNED]
    assert [trial.params["K"] for trial in pruned] == [10]
    # Of epoch 1 nothing is thought: the warm-up. The last value reported is the trial's.
    assert pruned[0].value == pruned[0].intermediate_values[max(pruned[0].intermediate_values)]
    assert min(pruned[0].intermediate_values) == 1
    run = RunDirectory(plan.workspace.runs / pruned[0].user_attrs["run_ids"][0])
    assert run.result() is None and run.failure() is None
    assert run.spec_file.exists() and run.config_file.exists()
    assert "pruned" in text
    done = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
    assert all(trial.value == pytest.approx(3 * trial.params["K"]) for trial in done)
    assert all(sorted(trial.intermediate_values) == [1, 2, 3] for trial in done)


def test_no_trial_is_pruned_after_its_last_epoch(
    plan_of: MakePlan, carry_out: CarryOut, ap_from_the_result: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StudyPlan, "run", _with_epochs(StudyPlan.run, 1))
    space = {"K": {"type": "int", "low": 10, "high": 50, "step": 10}}
    pruner = {**MEDIAN, "n_warmup_steps": 0}
    plan = plan_of(space=space, objectives=AP, pruner=pruner, trials=5, parallel=1)
    _enqueued(plan, [50, 40, 30, 20, 10])
    body = "validate(1, options['K'] / 100)\ntime.sleep(0.15)\nfinish(AP=options['K'] / 100)"
    study, _ = carry_out(plan, body)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5


def _with_epochs(original: Any, epochs: int) -> Any:
    def run(self: StudyPlan, options: dict[str, Any], seed: int) -> Any:
        made = original(self, options, seed)
        made.config["train_cfg"]["max_epochs"] = epochs
        return made

    return run


def _enqueued(plan: StudyPlan, sizes: list[int]) -> Any:
    plan.folder.mkdir(parents=True, exist_ok=True)
    study = open_study(plan, None)
    for size in sizes:
        study.enqueue_trial({"K": size})
    return study


def test_a_dead_trial_whose_run_is_finished_is_told(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(trials=2)
    study = _dead_trial(plan)
    run = plan.run(study.trials[0].params, 0)
    run.write(plan.dataset)
    (run.directory.path / "result.json").write_text(
        json.dumps({"evaluation": run.identity.evaluation, "metrics": {}, "files": {}, "step_seconds": 7.0})
    )
    study, _ = carry_out(plan)
    assert len(study.trials) == 2
    assert study.trials[0].value == 7.0
    assert run.run_id not in _starts(plan)


def test_a_dead_trial_keeps_its_number_and_what_it_had_drawn(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(sampler=TPE, trials=3)
    plan.folder.mkdir(parents=True)
    study = open_study(plan, None)
    half = study.ask()
    drawn = half.suggest_int("K", 1, 40)  # killed before beta
    bare = study.ask()  # killed before anything
    study, _ = carry_out(plan)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert study.trials[half.number].params["K"] == drawn
    assert set(study.trials[bare.number].params) == {"K", "beta"}


def _dead_trial(plan: StudyPlan) -> Any:
    plan.folder.mkdir(parents=True, exist_ok=True)
    study = open_study(plan, None)
    suggest(study.ask(), plan.study.space)
    return study


def test_the_same_study_goes_on_to_a_larger_total(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of()
    study, _ = carry_out(plan, trials=3)
    before = [trial.params for trial in study.trials]
    study, _ = carry_out(plan, trials=5)
    assert len(study.trials) == 5
    assert [trial.params for trial in study.trials[:3]] == before
    # The sampler's generator goes on too, instead of drawing the same numbers again.
    assert len({trial.params["beta"] for trial in study.trials}) == 5
    again, _ = carry_out(plan, trials=5)
    assert len(again.trials) == 5


def test_a_run_that_another_process_trains_is_waited_for(
    plan_of: MakePlan, carry_out: CarryOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(trials=1)
    looks = []

    def locked(run: RunDirectory) -> bool:
        looks.append(run.run_id)
        return len(looks) < 4

    monkeypatch.setattr(RunDirectory, "is_locked", locked)
    study, _ = carry_out(plan)
    assert study.trials[0].state is TrialState.COMPLETE
    assert list(_starts(plan).values()) == [["start"]]


def test_optuna_says_nothing(
    plan_of: MakePlan, carry_out: CarryOut, capfd: pytest.CaptureFixture[str]
) -> None:
    carry_out(plan_of(trials=2))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR
