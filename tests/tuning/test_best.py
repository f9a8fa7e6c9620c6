"""best.yaml: what it says, and what a row can rely on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from suite.errors import SuiteError
from suite.experiments.tuned import load_best
from suite.tuning.best import write_best
from suite.tuning.study_plan import StudyPlan

MakePlan = Callable[..., StudyPlan]
CarryOut = Callable[..., tuple[Any, str]]


def test_it_names_the_best_trial_and_how_it_was_found(plan_of: MakePlan, carry_out: CarryOut) -> None:
    body = "if options['K'] > 35:\n    sys.exit(1)\nfinish(step_seconds=options['K'])"
    plan = plan_of(options={"gamma": 1.5}, trials=10)
    study, _ = carry_out(plan, body)
    path = write_best(plan, study)
    assert path == plan.report_folder / "best.yaml"
    assert path.read_bytes() == (plan.folder / "best.yaml").read_bytes()
    best = load_best(path)
    lowest = min((trial for trial in study.trials if trial.value is not None), key=lambda one: one.value)
    assert best.parameters == {"gamma": 1.5, **lowest.params}
    assert (best.value, best.trial) == (lowest.value, lowest.number)
    assert (best.metric, best.direction) == ("step_seconds", "minimize")
    assert best.run_ids == lowest.user_attrs["run_ids"]
    assert best.trials.total == 10
    assert best.trials.failed == sum(trial.params["K"] > 35 for trial in study.trials)
    assert best.fingerprint == study.user_attrs["fingerprint"]
    assert (best.study, best.method, best.preset, best.seeds) == ("tiny", "ltm", "smoke", [0])
    assert best.dataset == plan.dataset.fingerprint
    # The parameters make the trial's run again: a row with them costs nothing.
    assert plan.run(best.parameters, 0).run_id == best.run_ids[0]


def test_what_is_tuned_on_the_reported_split_says_so(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(trials=1)
    study, _ = carry_out(plan)
    path = write_best(plan, study)
    assert path is not None
    assert "TUNED ON THE REPORTED SPLIT" in path.read_text()
    best = load_best(path)
    assert "ON THE REPORTED SPLIT" in best.note
    assert "1 trials of study tiny at preset smoke" in best.note
    held = best.model_copy(update={"split": "holdout"})
    assert "REPORTED" not in held.note


def test_only_trials_that_keep_the_constraints_count(plan_of: MakePlan, carry_out: CarryOut) -> None:
    space = {"K": {"type": "int", "low": 4, "high": 7}}
    given = {"space": space, "sampler": {"name": "grid", "seed": 0}, "trials": 4}
    plan = plan_of(**given, constraints=[{"metric": "peak_memory_mb", "at_most": 55}],
                   objectives=[{"metric": "step_seconds", "direction": "maximize"}])  # fmt: skip
    study, _ = carry_out(plan)
    path = write_best(plan, study)
    assert path is not None
    assert load_best(path).parameters == {"K": 5}
    assert load_best(path).constraints == {"peak_memory_mb": 55}
    none = plan_of(**given, name="none", constraints=[{"metric": "peak_memory_mb", "at_most": 5}])
    none.report_folder.mkdir(parents=True)
    (none.report_folder / "best.yaml").write_text("of an earlier study")
    study, _ = carry_out(none)
    assert write_best(none, study) is None
    assert not (none.report_folder / "best.yaml").exists()


def test_several_objectives_have_a_front_instead(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(
        space={"K": {"type": "int", "low": 1, "high": 4}},
        sampler={"name": "grid", "seed": 0},
        trials=4,
        objectives=[
            {"metric": "step_seconds", "direction": "minimize"},
            {"metric": "peak_memory_mb", "direction": "maximize"},
        ],
    )
    study, _ = carry_out(
        plan, "finish(step_seconds=options['K'], peak_memory_mb=9 - 3 * (options['K'] == 4))"
    )
    path = write_best(plan, study)
    assert path is not None and path.name == "pareto.yaml"
    front = yaml.safe_load(path.read_text())["front"]
    assert [point["parameters"]["K"] for point in front] == [1]
    assert front[0]["values"] == {"step_seconds": 1.0, "peak_memory_mb": 9.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "high"}, r"best\.yaml:\d+: field value"),
        ({"parametres": {}}, "Did you mean 'parameters'"),
        ({"split": "test"}, "field split"),
    ],
)
def test_a_changed_file_is_refused(
    plan_of: MakePlan, carry_out: CarryOut, change: dict[str, Any], message: str
) -> None:
    plan = plan_of(trials=1)
    study, _ = carry_out(plan)
    path = write_best(plan, study)
    assert path is not None
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(SuiteError, match=message):
        load_best(path)


@pytest.mark.parametrize("digits", ["9629532748e16", "123456789012", "0x12", "1_000"])
def test_a_fingerprint_that_looks_like_a_number_stays_text(
    plan_of: MakePlan, carry_out: CarryOut, digits: str
) -> None:
    plan = plan_of(trials=1)
    study, _ = carry_out(plan)
    study.set_user_attr("fingerprint", digits)
    path = write_best(plan, study)
    assert path is not None and load_best(path).fingerprint == digits


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="suite tune STUDY"):
        load_best(tmp_path / "best.yaml")


def test_presets_do_not_share_a_folder(plan_of: MakePlan) -> None:
    plan = plan_of()
    other = replace(plan, preset="mini")
    assert plan.report_folder != other.report_folder
    assert plan.folder != other.folder
