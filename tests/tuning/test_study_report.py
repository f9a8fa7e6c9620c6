"""The report of a study: its table, its figures, its page."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import pytest

from suite.tuning.study_plan import StudyPlan
from suite.tuning.study_report import write_report

from .cases import MEDIAN

MakePlan = Callable[..., StudyPlan]
CarryOut = Callable[..., tuple[Any, str]]
FIGURES = {"history.png", "importance.png", "slice.png", "contour.png", "parallel.png"}


def test_tables_figures_and_one_page(plan_of: MakePlan, carry_out: CarryOut) -> None:
    body = "if options['K'] > 35:\n    print('error: a <bad> | bag'); sys.exit(1)\n"
    body += "finish(step_seconds=options['K'])"
    plan = plan_of(trials=10)
    study, _ = carry_out(plan, body)
    page = write_report(plan, study)
    folder = plan.report_folder
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "best.yaml", "index.html", "trials.csv", *FIGURES
    }  # fmt: skip
    for name in FIGURES:
        content = (folder / name).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) > 5000
    rows = list(csv.DictReader(io.StringIO((folder / "trials.csv").read_text())))
    assert [int(row["trial"]) for row in rows] == list(range(10))
    for row, trial in zip(rows, study.trials, strict=True):
        assert row["K"] == str(trial.params["K"])
        assert row["step_seconds (s)"] == ("" if trial.value is None else f"{trial.value:.4g}")
        assert row["run"] == trial.user_attrs["run_ids"][0]
        assert row["remark"].endswith("a <bad> | bag") == (trial.params["K"] > 35)
    text = page.read_text()
    assert "a &lt;bad&gt; | bag" in text and "<bad>" not in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)  # self-contained
    assert text.count("<tr") == 11
    assert text.count('class="best"') == 1
    assert "Tuned on the reported split" in text
    readme = (folder / "README.md").read_text()
    assert r"a <bad> \| bag" in readme
    assert all(f"({name})" in readme for name in FIGURES)


def test_a_study_without_a_finished_trial_says_so(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(trials=2)
    study, _ = carry_out(plan, "sys.exit(1)")
    text = write_report(plan, study).read_text()
    assert "no trial is complete" in text
    assert text.count("Not drawn:") == len(FIGURES)


def test_one_parameter_and_one_trial_draw_what_they_can(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(space={"K": {"type": "int", "low": 1, "high": 4}}, trials=1)
    study, _ = carry_out(plan)
    text = write_report(plan, study).read_text()
    assert "a contour needs two parameters" in text
    assert (plan.report_folder / "history.png").exists()


def test_the_same_study_gives_the_same_report(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of()
    study, _ = carry_out(plan)
    contents = []
    for _ in range(2):
        write_report(plan, study)
        contents.append({path.name: path.read_bytes() for path in plan.report_folder.iterdir()})
    assert contents[0] == contents[1]


@pytest.mark.parametrize("several", [False, True])
def test_constraints_and_fronts(plan_of: MakePlan, carry_out: CarryOut, several: bool) -> None:
    objectives = [{"metric": "step_seconds", "direction": "maximize"}]
    if several:
        objectives.append({"metric": "peak_memory_mb", "direction": "minimize"})
    plan = plan_of(objectives=objectives, constraints=[{"metric": "train_hours", "at_most": 20}], trials=6)
    body = "K = options['K']\nfinish(step_seconds=K, peak_memory_mb=K ** 2, train_seconds=3600 * K)"
    study, _ = carry_out(plan, body)
    text = write_report(plan, study).read_text()
    assert "train_hours at most 20 h" in text
    broken = sum(trial.params["K"] > 20 for trial in study.trials)
    assert broken and text.count("breaks a constraint") == broken
    names = {path.name for path in plan.report_folder.glob("*.png")}
    if several:
        assert names >= {"pareto.png", "history_step_seconds.png", "contour_peak_memory_mb.png"}
        assert "Pareto front" in text
    else:
        assert names == FIGURES


def test_pruned_trials_show_how_far_they_came(plan_of: MakePlan, carry_out: CarryOut) -> None:
    plan = plan_of(objectives=[{"metric": "AP", "direction": "maximize"}], pruner=MEDIAN, trials=1)
    study, _ = carry_out(plan, "sys.exit(1)")
    from optuna.trial import TrialState

    trial = study.ask()
    trial.set_user_attr("options", {"K": 3, "beta": 0.5})
    trial.set_user_attr("run_ids", ["ltm-s0-abc"])
    trial.report(12.5, 4)
    study.tell(trial, state=TrialState.PRUNED)
    write_report(plan, study)
    row = list(csv.DictReader(io.StringIO((plan.report_folder / "trials.csv").read_text())))[1]
    assert (row["state"], row["last epoch"], row["AP then"], row["AP (%)"]) == ("pruned", "4", "12.5", "")
