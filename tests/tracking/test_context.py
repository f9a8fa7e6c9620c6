from pathlib import Path
from typing import Any

import pytest

from suite.runs.directory import RunDirectory
from suite.tracking.context import WorkspaceContext
from suite.tracking.studies import TrackedStudy, read_studies
from suite.workspace import Workspace

from .run_files import finish, make_run, start, trial, write_lines, write_study


@pytest.fixture
def workspace(tmp_path: Path, write_experiment: Any) -> Workspace:
    rows = [
        {"label": "RetinaNet", "method": "retinanet"},
        {"label": "LTM", "method": "ltm"},
        {"label": "LTM, K = 10", "method": "ltm", "options": {"K": 10}},
    ]
    write_experiment("ltm.table1", rows=rows)
    write_experiment("ltm.table10", rows=rows[:2])
    write_experiment("paa.table1", dataset="other", rows=rows)
    return Workspace(tmp_path)


def place(workspace: Workspace, name: str) -> dict[str, str]:
    spec = RunDirectory(workspace.runs / name).spec()
    return WorkspaceContext.of(workspace).of_run(name, spec).tags


def test_a_run_stands_in_every_row_that_asks_for_it(workspace: Workspace) -> None:
    make_run(workspace, "plain")
    make_run(workspace, "seed", seed=4)
    make_run(workspace, "option", K=10)
    make_run(workspace, "unused", K=11)
    assert place(workspace, "plain") == {
        "suite.kind": "run",
        "suite.experiment": "ltm.table1, ltm.table10",
        "suite.row": "ltm.table1: LTM; ltm.table10: LTM;",
    }
    assert place(workspace, "seed")["suite.row"] == "ltm.table1: LTM; ltm.table10: LTM;"
    assert place(workspace, "option")["suite.row"] == "ltm.table1: LTM, K = 10;"
    assert place(workspace, "unused") == {"suite.kind": "run", "suite.experiment": "", "suite.row": ""}


def test_experiments_with_a_run_at_the_preset(workspace: Workspace) -> None:
    make_run(workspace, "option", K=10)
    context = WorkspaceContext.of(workspace)
    assert [experiment.id for experiment in context.used("mini")] == ["ltm.table1"]
    assert context.used("smoke") == []


def test_the_run_that_was_begun_last_replaces_the_others(workspace: Workspace) -> None:
    old, new, planned = (make_run(workspace, name) for name in ("b-old", "a-new", "c-planned"))
    finish(old)
    write_lines(old, 1, 2)
    start(new)
    write_lines(new, 1, 2, offset=500)
    assert place(workspace, "b-old") == {"suite.kind": "replaced", "suite.experiment": "", "suite.row": ""}
    assert place(workspace, "a-new")["suite.kind"] == "run"
    context = WorkspaceContext.of(workspace)
    context.begin(planned.run_id, planned.spec())
    assert context.of_run("c-planned", planned.spec()).tags["suite.kind"] == "run"
    assert context.of_run("a-new", new.spec()).tags["suite.kind"] == "replaced"


def test_trials_know_their_studies(workspace: Workspace) -> None:
    make_run(workspace, "trial", K=11)
    make_run(workspace, "both")
    write_study(workspace, [trial(0, "both"), trial(1, "trial", "PRUNED"), trial(2, None, "RUNNING")])
    write_study(workspace, [trial(3, "trial")], "grid")
    tags = place(workspace, "trial")
    assert tags["suite.kind"] == "trial"
    assert (tags["suite.study"], tags["suite.trial"]) == ("grid, tpe", "3, 1")
    assert tags["suite.trial_state"] == "COMPLETE, PRUNED"
    assert place(workspace, "both")["suite.kind"] == "run"  # a table's run is no less one for being a trial


def test_value_of_each_trial_and_the_best_so_far(workspace: Workspace) -> None:
    values = [30.0, 28.0, None, 33.0]
    trials = [trial(number, f"r{number}", value=value) for number, value in enumerate(values)]
    trials[2]["state"] = "FAIL"
    infeasible = trial(4, "r4", value=50.0)
    infeasible["feasible"] = False
    write_study(workspace, [infeasible, *reversed(trials)])
    (study,) = read_studies(workspace)
    points = [(name, value, step) for name, value, _, step in study.points()]
    assert [(value, step) for name, value, step in points if name == "trial/AP"] == [
        (30.0, 0), (28.0, 1), (33.0, 3), (50.0, 4),
    ]  # fmt: skip
    assert [(value, step) for name, value, step in points if name == "best/AP"] == [
        (30.0, 0), (30.0, 1), (33.0, 3),
    ]  # fmt: skip
    assert study.params()["objective"] == "maximize AP"


def test_damaged_or_missing_studies_are_left_out(workspace: Workspace) -> None:
    (workspace.runs / "studies" / "half-mini").mkdir(parents=True)
    assert TrackedStudy.read(workspace.runs / "studies" / "half-mini") is None
    (workspace.runs / "studies" / "half-mini" / "study.json").write_text("{}")
    write_study(workspace, [])
    assert [study.about["name"] for study in read_studies(workspace)] == ["tpe"]
