import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from suite.tracking.context import WorkspaceContext
from suite.tracking.store import tracking_uri
from suite.tracking.sync import sync_all
from suite.tracking.views import RESULTS, STUDIES, row_filter, view_address
from suite.workspace import Workspace

from .run_files import finish, make_run, trial, write_study

VIEW = "mlflow.sharedViewState."


@pytest.fixture
def client(workspace: Workspace, write_experiment: Any) -> MlflowClient:
    """A store with runs of three rows, one run of no row, a study and a report."""
    rows = [
        {"label": "RetinaNet", "method": "retinanet"},
        {"label": "LTM", "method": "ltm"},
        {"label": "LTM, K = 10", "method": "ltm", "options": {"K": 10}},
    ]
    write_experiment("ltm.table1", rows=rows)
    write_experiment("ltm.table10", rows=rows[1:], baseline="LTM")
    finish(make_run(workspace, "retinanet", method="retinanet"))
    finish(make_run(workspace, "ltm"))
    finish(make_run(workspace, "ltm-10", K=10))
    finish(make_run(workspace, "ltm-11", K=11))
    write_study(workspace, [trial(0, "ltm-11", value=40.0)])
    (workspace.reports / "mini").mkdir(parents=True)
    (workspace.reports / "mini" / "index.html").write_text("<p>1</p>")
    sync_all(workspace)
    return MlflowClient(tracking_uri(workspace))


def found(client: MlflowClient, search: str) -> set[str]:
    experiment = client.get_experiment_by_name("mini").experiment_id
    return {run.data.tags["suite.run_id"] for run in client.search_runs([experiment], search)}


def states(client: MlflowClient) -> dict[str, dict[str, Any]]:
    """The views of experiment mini: key -> state of the page."""
    tags = client.get_experiment_by_name("mini").tags
    envelopes = {key.removeprefix(VIEW): json.loads(tags[key]) for key in tags if key.startswith(VIEW)}
    assert all(
        {"name", "createdAt", "updatedAt", "state"} == envelope.keys() for envelope in envelopes.values()
    )
    return {key: json.loads(envelope["state"]) for key, envelope in envelopes.items()}


def test_each_view_finds_its_runs(client: MlflowClient) -> None:
    views = {key: found(client, state["searchFilter"]) for key, state in states(client).items()}
    assert views == {
        RESULTS: {"retinanet", "ltm", "ltm-10"},
        STUDIES: {"study:tpe-mini", "ltm-11"},
        "report": {"report:mini"},
        "ltm.table1": {"retinanet", "ltm", "ltm-10"},
        "ltm.table10": {"ltm", "ltm-10"},
    }


def test_one_row_of_one_table(client: MlflowClient) -> None:
    assert found(client, row_filter("ltm.table1", "LTM")) == {"ltm"}
    assert found(client, row_filter("ltm.table1", "LTM, K = 10")) == {"ltm-10"}
    assert found(client, row_filter("ltm.table10", "RetinaNet")) == set()


def test_columns_are_metrics_that_runs_have(client: MlflowClient) -> None:
    (run,) = client.search_runs(
        [client.get_experiment_by_name("mini").experiment_id], "tags.`suite.run_id` = 'ltm'"
    )
    columns = states(client)[RESULTS]["selectedColumns"]
    assert {f"metrics.`{name}`" for name in ("AP", "AP50", "NR", "train_hours")} <= set(columns)
    assert {f"metrics.`{name}`" for name in run.data.metrics} <= set(columns)


def test_a_view_that_a_person_changed_stays(client: MlflowClient, workspace: Workspace) -> None:
    experiment = client.get_experiment_by_name("mini").experiment_id
    client.set_experiment_tag(experiment, VIEW + RESULTS, "mine")
    sync_all(workspace)
    assert client.get_experiment(experiment).tags[VIEW + RESULTS] == "mine"


def test_address(tmp_path: Path) -> None:
    assert view_address("http://h:1/", "7", "ltm.table2") == (
        "http://h:1/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=ltm.table2"
    )
    assert WorkspaceContext.of(Workspace(tmp_path)).used("mini") == []
