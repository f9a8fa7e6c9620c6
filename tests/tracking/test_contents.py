import re
from typing import Any

import pytest

from suite.tracking.contents import curve_points, has_started, params_of, result_points, started_runs
from suite.tracking.headlines import HEADLINES
from suite.tracking.views import COLUMNS
from suite.workspace import Workspace

from .run_files import finish, iso, make_run, start, write_lines

ALLOWED = re.compile(r"[/\w.\- :]*")
"""What MLflow's documentation allows in the name of a metric."""


def test_result_is_in_percent_and_rounded_as_tables_print_it(tmp_path: Any) -> None:
    run = make_run(Workspace(tmp_path))
    finish(run, ap=0.312345)
    result = run.result()
    assert result is not None
    points = {name: value for name, value, _, _ in result_points(result, {"AP_dense": 27.777})}
    assert points == {
        "AP": 31.23, "AP50": 70.0, "NR": 91.23, "AP_dense": 27.78, "step_seconds": 0.1235, "memory_mb": 90.0,
        "train_hours": 0.5,
    }  # fmt: skip
    assert {(time, step) for _, _, time, step in result_points(result, {})} == {(1767225800000, 100)}


def test_names_are_what_mlflow_allows_and_all_columns_are_metrics() -> None:
    metrics = dict.fromkeys(("AP", "AP50", "AP75", "APS", "APM", "APL", "AR100", "NR"), 0.5)
    result = {"metrics": metrics, "step_seconds": 1, "peak_memory_mb": 1, "train_seconds": 1, "steps": 1,
              "finished": iso(0)}  # fmt: skip
    names = [name for name, *_ in result_points(result, dict.fromkeys(HEADLINES, 50.0))]
    assert sorted(names) == sorted(COLUMNS)
    assert all(ALLOWED.fullmatch(name) for name in names)


def test_figures_that_were_lost_with_the_log_are_left_out(tmp_path: Any) -> None:
    run = make_run(Workspace(tmp_path))
    finish(run)
    lost = {**(run.result() or {}), "step_seconds": None, "peak_memory_mb": None}
    names = {name for name, *_ in result_points(lost, {})}
    assert names == {"AP", "AP50", "NR", "train_hours"}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ({"loss": 2.0, "loss_cls": 1.0, "lr": 0.1, "step_seconds": 0.2, "epoch": 1, "memory_mb": 9},
         {"train/loss": 2.0, "train/loss_cls": 1.0, "train/lr": 0.1, "train/step_seconds": 0.2}),
        ({"val_AP": 0.25, "epoch": 1}, {"val/AP": 25.0}),
        ({"loss": float("nan"), "lr": 0.1}, {"train/lr": 0.1}),
    ],
)  # fmt: skip
def test_curves(line: dict[str, Any], names: dict[str, float]) -> None:
    points = list(curve_points({**line, "step": 7, "time": iso(1)}))
    assert {name: value for name, value, _, _ in points} == names
    assert {step for *_, step in points} == {7}


def test_params_are_few_and_an_option_wins_over_the_config(tmp_path: Any) -> None:
    run = make_run(Workspace(tmp_path), K=20, lr=0.02)
    params = params_of(run.spec())
    assert (params["K"], params["lr"], params["optimizer"]) == ("20", "0.02", "SGD")
    assert len(params) <= 25


def test_a_run_has_started_when_its_worker_has(tmp_path: Any) -> None:
    workspace = Workspace(tmp_path)
    planned, begun, logged = (make_run(workspace, name) for name in ("a", "b", "c"))
    start(begun)
    write_lines(logged, 1, 1)
    assert [has_started(run) for run in (planned, begun, logged)] == [False, True, True]
    assert [run.run_id for run in started_runs(workspace)["mini"]] == ["b", "c"]
