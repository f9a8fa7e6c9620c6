import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from suite.errors import SuiteError
from suite.runs import RunDirectory
from suite.tracking.mlflow_mirror import Mirror, sync_all, tracking_uri
from suite.workspace import Workspace

from .run_files import finish, make_run, write_lines


def held(workspace: Workspace) -> dict[str, Any]:
    """What the store holds: suite.run_id -> MLflow run."""
    client = MlflowClient(tracking_uri(workspace))
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return {run.data.tags["suite.run_id"]: run for run in runs}


def curve(workspace: Workspace, run: RunDirectory, name: str = "train/loss") -> list[int]:
    client = MlflowClient(tracking_uri(workspace))
    return [point.step for point in client.get_metric_history(held(workspace)[run.run_id].info.run_id, name)]


def test_life_of_a_run(workspace: Workspace) -> None:
    run = make_run(workspace, K=20)
    write_lines(run, 1, 3)
    mirror = Mirror(workspace)
    assert mirror.sync(run, ["ltm.table2", "ltm.figure5"], running=True) == "created"
    live = held(workspace)[run.run_id]
    assert live.info.status == "RUNNING"
    assert live.info.run_name == "ltm K=20 seed 0"
    assert live.data.params == {
        "method": "ltm", "seed": "0", "dataset": "shapes-1", "K": "20",
        "batch_size": "8", "optimizer": "SGD", "lr": "0.01",
    }  # fmt: skip
    tags = {name: value for name, value in live.data.tags.items() if name.startswith("suite.")}
    assert tags["suite.experiment"] == "ltm.table2,ltm.figure5"
    assert tags["suite.git_commit"] == "abc123-dirty"
    assert (tags["suite.method"], tags["suite.seed"], tags["suite.preset"]) == ("ltm", "0", "mini")
    assert curve(workspace, run) == [1, 2, 3]

    write_lines(run, 4, 6, mode="a")
    finish(run)
    assert Mirror(workspace).sync(run) == "updated"  # another driver, without the tables
    done = held(workspace)[run.run_id]
    assert done.info.run_id == live.info.run_id
    assert done.info.status == "FINISHED"
    assert (done.data.metrics["AP"], done.data.metrics["train_seconds"]) == (0.4, 10.0)
    assert "APL" not in done.data.metrics
    assert done.data.tags["suite.experiment"] == "ltm.table2,ltm.figure5"
    assert done.data.tags["suite.state"] == "done"
    assert done.info.end_time - done.info.start_time == 199_000
    assert curve(workspace, run) == [1, 2, 3, 4, 5, 6]
    artifacts = MlflowClient(tracking_uri(workspace)).list_artifacts(done.info.run_id)
    assert {artifact.path for artifact in artifacts} == {"config.py", "environment.json"}
    assert list((workspace.root / "mlartifacts" / "mini").rglob("config.py"))

    assert Mirror(workspace).sync(run) == "unchanged"


def test_only_new_lines_are_sent(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 50)
    mirror = Mirror(workspace)
    mirror.sync(run, running=True)
    sent: list[int] = []
    original = MlflowClient.log_batch

    def count(self: MlflowClient, run_id: str, metrics: Any = (), **rest: Any) -> Any:
        sent.extend(metric.step for metric in metrics)
        return original(self, run_id, metrics=metrics, **rest)

    monkeypatch.setattr(MlflowClient, "log_batch", count)
    write_lines(run, 51, 52, mode="a")
    mirror.sync(run, running=True)
    assert set(sent) == {51, 52}


def test_long_curves_are_sent_in_batches_that_mlflow_accepts(workspace: Workspace) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 700)  # 2800 points
    Mirror(workspace).sync(run, running=True)
    assert curve(workspace, run) == list(range(1, 701))


def test_sync_that_was_cut_short_is_completed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 3)
    finish(run)
    mirror = Mirror(workspace)

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(MlflowClient, "log_artifact", fail)
        mirror.sync(run)
    assert mirror.sync(run) == "updated"
    assert held(workspace)[run.run_id].info.status == "FINISHED"
    assert curve(workspace, run) == [1, 2, 3]


def test_run_resumed_from_a_checkpoint_keeps_all_its_points(workspace: Workspace) -> None:
    run = make_run(workspace)
    mirror = Mirror(workspace)
    write_lines(run, 1, 6)
    mirror.sync(run, running=True)
    write_lines(run, 1, 3)  # the worker goes back to step 3 ...
    write_lines(run, 4, 8, offset=500, mode="a")  # ... and on
    mirror.sync(run, running=True)
    assert set(curve(workspace, run)) == set(range(1, 9))


def test_run_trained_anew_loses_its_old_curves(workspace: Workspace) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 6)
    Mirror(workspace).sync(run)
    write_lines(run, 1, 2, offset=1000)
    assert Mirror(workspace).sync(run) == "created"
    assert curve(workspace, run) == [1, 2]


def test_failed_and_interrupted_runs(workspace: Workspace) -> None:
    failed, stopped = make_run(workspace, "a-s0-1"), make_run(workspace, "b-s0-1")
    write_lines(failed, 1, 2)
    failed.write_failure("loss is not finite at step 2")
    write_lines(stopped, 1, 2)
    sync_all(workspace)
    runs = held(workspace)
    assert (runs["a-s0-1"].info.status, runs["b-s0-1"].info.status) == ("FAILED", "KILLED")
    assert runs["a-s0-1"].data.tags["suite.failure"] == "loss is not finite at step 2"
    assert runs["b-s0-1"].data.tags["suite.state"] == "interrupted"


def test_run_deleted_in_mlflow_comes_back(workspace: Workspace) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 2)
    Mirror(workspace).sync(run)
    client = MlflowClient(tracking_uri(workspace))
    client.delete_run(held(workspace)[run.run_id].info.run_id)
    assert Mirror(workspace).sync(run) == "created"
    client.delete_experiment(client.get_experiment_by_name("mini").experiment_id)
    Mirror(workspace).sync(run)
    assert client.get_experiment_by_name("mini").lifecycle_stage == "active"


def test_sync_all_rebuilds_a_lost_store(
    workspace: Workspace, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a-s0-1", "b-s0-1"):
        finish(make_run(workspace, name))
    make_run(workspace, "never-started-s0-1")
    damaged = make_run(workspace, "damaged-s0-1")
    finish(damaged)
    damaged.spec_file.write_text("{")
    for name in ("mini", "mini-coco", "other"):
        (workspace.reports / name / "figures").mkdir(parents=True)
        (workspace.reports / name / "figures" / "a.svg").write_text("<svg/>")
    counts = sync_all(workspace, tables={"a-s0-1": ["paa.table1"]})
    assert (counts.created, counts.updated, counts.unchanged, len(counts.skipped)) == (4, 0, 0, 1)
    assert "damaged-s0-1" in counts.skipped[0]
    assert set(held(workspace)) == {"a-s0-1", "b-s0-1", "report:mini", "report:mini-coco"}
    assert held(workspace)["a-s0-1"].data.tags["suite.experiment"] == "paa.table1"
    before = sync_all(workspace)
    assert (before.created, before.updated, before.unchanged) == (0, 0, 4)

    shutil.copy(empty_store, workspace.root / "again.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.root / 'again.db'}")
    assert sync_all(workspace).created == 4


def test_report_is_sent_again_when_it_changes(workspace: Workspace) -> None:
    folder = workspace.reports / "mini"
    (folder / "figures").mkdir(parents=True)
    (folder / "index.html").write_text("<p>1</p>")
    (folder / "figures" / "a.svg").write_text("<svg/>")
    mirror = Mirror(workspace)
    assert mirror.sync_report(folder, "mini") == "created"
    assert mirror.sync_report(folder, "mini") == "unchanged"
    (folder / "index.html").write_text("<p>2</p>")
    assert Mirror(workspace).sync_report(folder, "mini") == "updated"
    (page,) = (workspace.root / "mlartifacts").rglob("index.html")
    assert page.read_text() == "<p>2</p>"
    assert (page.parent / "figures" / "a.svg").exists()


def test_unreachable_server_is_an_error_that_names_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(make_run(workspace))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(SuiteError, match=r"http://127.0.0.1:9.*(?s:.)*unset MLFLOW_TRACKING_URI"):
        sync_all(workspace)
