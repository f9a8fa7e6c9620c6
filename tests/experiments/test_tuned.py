"""Rows that take their options from a study."""

from pathlib import Path

import pytest
import yaml

from suite.errors import SuiteError
from suite.experiments.schema import load_experiments
from suite.experiments.tuned import with_tuned_options
from suite.workflow import Request, make_plan
from suite.workspace import Workspace


@pytest.fixture
def best(tmp_path: Path):
    """Writes a study's result."""

    def write(**fields) -> str:
        values = {
            "study": "ltm_tpe", "fingerprint": "0" * 16, "method": "ltm", "preset": "mini",
            "parameters": {"K": 12, "lr": 0.003}, "metric": "AP", "direction": "maximize", "value": 30.1,
            "split": "holdout", "evaluated_on": "images held out", "dataset": "f" * 64,
            "constraints": {}, "trials": {"complete": 20, "pruned": 9, "failed": 1}, "trial": 17,
            "seeds": [0], "run_ids": ["ltm-s0-0"], **fields,
        }  # fmt: skip
        path = tmp_path / "reports" / "mini" / "studies" / "ltm_tpe" / "best.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values))
        return str(path.relative_to(tmp_path))

    return write


def rows(path: str, **fields) -> list[dict]:
    return [
        {"label": "RetinaNet", "method": "retinanet"},
        {"label": "tuned", "method": "ltm", "tuned": path, **fields},
    ]


def load(path: Path):
    (experiment,) = load_experiments(path.parent.parent)
    return experiment


def test_a_row_takes_the_parameters_and_says_how_they_were_found(write_experiment, best, tmp_path) -> None:
    experiment = load(write_experiment("mine.tuned", rows=rows(best(), options={"lr": 0.001})))
    resolved, notes = with_tuned_options(experiment, tmp_path)
    assert resolved.rows[1].options == {"K": 12, "lr": 0.001}
    assert notes == {
        "tuned": "tuned in 30 trials of study ltm_tpe at preset mini, on held-out training images"
    }


def test_tuning_on_the_reported_split_is_said_loudly(write_experiment, best, tmp_path) -> None:
    experiment = load(write_experiment("mine.tuned", rows=rows(best(split="val"))))
    _, notes = with_tuned_options(experiment, tmp_path)
    assert "ON THE REPORTED SPLIT" in notes["tuned"]


def test_the_plan_trains_the_tuned_parameters(write_experiment, best, tmp_path) -> None:
    write_experiment("mine.tuned", rows=rows(best()), factor=["method", "K", "lr"])
    planned = make_plan(Request("mini", "mine.tuned", (0,), None, Workspace(tmp_path)))
    (tuned,) = [run for run in planned.runs if run.spec.method == "ltm"]
    assert tuned.config["model"]["bbox_head"]["bag_size"] == 12
    assert tuned.config["optim_wrapper"]["optimizer"]["lr"] == 0.003


def test_a_missing_file_names_the_line_and_the_command(write_experiment, tmp_path) -> None:
    path = write_experiment("mine.tuned", rows=rows("reports/mini/studies/none/best.yaml"))
    with pytest.raises(
        SuiteError, match=r"field rows\.1\.tuned: .*none/best\.yaml: there is no such file"
    ) as caught:
        with_tuned_options(load(path), tmp_path)
    assert "suite tune" in str(caught.value.remedy)


def test_a_study_of_another_method_is_refused(write_experiment, best, tmp_path) -> None:
    path = write_experiment("mine.tuned", rows=rows(best(method="ltm_af")))
    with pytest.raises(
        SuiteError, match=r"field rows\.1\.tuned: .* is of method 'ltm_af'; the row's method is 'ltm'"
    ):
        with_tuned_options(load(path), tmp_path)
