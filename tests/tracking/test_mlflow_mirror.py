import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from suite.errors import SuiteError
from suite.runs.directory import RunDirectory
from suite.tracking.context import WorkspaceContext
from suite.tracking.mlflow_mirror import Mirror
from suite.tracking.store import short_reason, tracking_uri
from suite.tracking.sync import sync_all
from suite.workspace import Workspace

from .run_files import (
    detect,
    finish,
    iso,
    make_run,
    start,
    trial,
    write_annotations,
    write_lines,
    write_study,
    write_validation,
)


def held(workspace: Workspace) -> dict[str, Any]:
    """What the store holds: suite.run_id -> MLflow run."""
    client = MlflowClient(tracking_uri(workspace))
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return {run.data.tags["suite.run_id"]: run for run in runs}


def curve(workspace: Workspace, run: RunDirectory, name: str = "train/loss") -> list[int]:
    client = MlflowClient(tracking_uri(workspace))
    return [point.step for point in client.get_metric_history(held(workspace)[run.run_id].info.run_id, name)]


def test_life_of_a_run(workspace: Workspace, write_experiment: Any) -> None:
    rows = [{"label": "LTM", "method": "ltm", "options": {"K": 20}}]
    write_experiment("ltm.table2", rows=rows, baseline="LTM")
    run = make_run(workspace, K=20)
    start(run)
    mirror = Mirror(workspace, context=WorkspaceContext.of(workspace))
    assert mirror.sync(run, running=True) == "created"
    assert held(workspace)[run.run_id].info.status == "RUNNING"
    write_lines(run, 1, 3)
    assert mirror.sync(run, running=True) == "updated"
    live = held(workspace)[run.run_id]
    assert live.info.status == "RUNNING"
    assert live.info.run_name == "ltm K=20 seed 0"
    assert live.data.params == {
        "method": "ltm", "seed": "0", "dataset": "shapes-1", "K": "20",
        "batch_size": "8", "optimizer": "SGD", "lr": "0.01",
    }  # fmt: skip
    tags = {name: value for name, value in live.data.tags.items() if name.startswith("suite.")}
    assert (tags["suite.experiment"], tags["suite.row"]) == ("ltm.table2", "ltm.table2: LTM;")
    (dataset,) = live.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("shapes-1", "f" * 36)
    assert tags["suite.git_commit"] == "abc123-dirty"
    assert (tags["suite.method"], tags["suite.seed"], tags["suite.preset"]) == ("ltm", "0", "mini")
    assert curve(workspace, run) == [1, 2, 3]

    write_lines(run, 4, 6, mode="a")
    write_validation(run, 6, 0.31)
    finish(run)
    assert Mirror(workspace, context=WorkspaceContext.of(workspace)).sync(run) == "updated"  # another driver
    done = held(workspace)[run.run_id]
    assert done.info.run_id == live.info.run_id
    assert done.info.status == "FINISHED"
    assert (done.data.metrics["AP"], done.data.metrics["train_hours"]) == (40.0, 0.5)
    assert not {"APL", "AP_dense"} & done.data.metrics.keys()
    assert done.data.tags["suite.state"] == "done"
    assert curve(workspace, run) == [1, 2, 3, 4, 5, 6]
    assert curve(workspace, run, "val/AP") == [6]
    artifacts = MlflowClient(tracking_uri(workspace)).list_artifacts(done.info.run_id)
    assert {artifact.path for artifact in artifacts} == {"config.py", "environment.json"}
    assert list((workspace.root / "mlartifacts" / "mini").rglob("config.py"))

    assert Mirror(workspace, context=WorkspaceContext.of(workspace)).sync(run) == "unchanged"


def test_a_finished_run_lasts_from_its_first_line_to_its_end(workspace: Workspace) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 3)
    finish(run)
    Mirror(workspace).sync(run)
    info = held(workspace)[run.run_id].info
    assert info.end_time - info.start_time == 199_000


def test_slices_come_when_the_annotations_are_there(workspace: Workspace) -> None:
    run = make_run(workspace)
    detect(run, [(2, 0.8, (0, 0, 40, 40)), (2, 0.7, (0, 10, 40, 40))])
    finish(run)
    Mirror(workspace).sync(run)
    write_annotations(workspace)
    assert Mirror(workspace).sync(run) == "updated"
    metrics = held(workspace)[run.run_id].data.metrics
    assert (metrics["AP_dense"], metrics["AP_31_objects"]) == (100.0, 0.0)


def test_system_metrics_are_a_page_of_their_own(workspace: Workspace) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 3)
    mirror = Mirror(workspace)
    for count in (1, 2):
        with (run.path / "system.jsonl").open("a") as stream:
            stream.write(json.dumps({"time": iso(count), "step": count, "cpu_percent": 97.5}) + "\n")
        mirror.sync(run, running=True)
    assert curve(workspace, run, "system/cpu_percent") == [1, 2]
    write_lines(run, 1, 2, offset=500)  # trained anew: the samples are of the training before
    mirror.sync(run, running=True)
    assert curve(workspace, run, "system/cpu_percent") == []


def test_two_drivers_at_once_make_one_run(workspace: Workspace) -> None:
    runs = [make_run(workspace, f"ltm-s{seed}-1", seed=seed) for seed in range(4)]
    for run in runs:
        write_lines(run, 1, 3)
    mirrors = [Mirror(workspace), Mirror(workspace)]
    for mirror in mirrors:
        mirror.experiment("mini")  # both have seen the store before either writes
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda mirror: [mirror.sync(run) for run in runs], mirrors))
    client = MlflowClient(tracking_uri(workspace))
    found = client.search_runs([client.get_experiment_by_name("mini").experiment_id])
    assert sorted(run.data.tags["suite.run_id"] for run in found) == [run.run_id for run in runs]
    assert all(curve(workspace, run) == [1, 2, 3] for run in runs)


def test_of_two_runs_made_by_two_machines_one_stays(workspace: Workspace) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 3)
    mirror = Mirror(workspace)
    mirror.sync(run)
    client = MlflowClient(tracking_uri(workspace))
    experiment = client.get_experiment_by_name("mini").experiment_id
    client.create_run(experiment, tags={"suite.run_id": run.run_id})
    Mirror(workspace).sync(run)
    assert len(client.search_runs([experiment])) == 1
    assert curve(workspace, run) == [1, 2, 3]


def test_trials_are_children_of_their_study(workspace: Workspace) -> None:
    first, second = make_run(workspace, "a-s0-1", K=5), make_run(workspace, "b-s0-1", K=6)
    finish(first)
    write_lines(second, 1, 2)
    write_study(workspace, [trial(0, "a-s0-1", value=40.0), trial(1, "b-s0-1", "RUNNING")])
    counts = sync_all(workspace)
    assert (counts.created, counts.skipped) == (3, [])
    runs = held(workspace)
    study = runs["study:tpe-mini"]
    assert study.info.run_name == "study tpe"
    assert study.info.status == "RUNNING"
    assert study.data.metrics == {"trial/AP": 40.0, "best/AP": 40.0}
    assert {runs[name].data.tags["mlflow.parentRunId"] for name in ("a-s0-1", "b-s0-1")} == {
        study.info.run_id
    }
    assert runs["b-s0-1"].data.tags["suite.trial_state"] == "RUNNING"
    write_study(workspace, [trial(0, "a-s0-1", value=40.0), trial(1, "b-s0-1", "PRUNED")])
    assert sync_all(workspace).updated == 2  # the study and the pruned trial
    assert held(workspace)["study:tpe-mini"].info.status == "FINISHED"
    assert sync_all(workspace).unchanged == 3


def test_run_that_a_newer_one_replaced_leaves_its_rows(workspace: Workspace, write_experiment: Any) -> None:
    write_experiment("ltm.table2")
    old, new = make_run(workspace, "old-s0-1"), make_run(workspace, "new-s0-1")
    write_lines(old, 1, 2)
    sync_all(workspace)
    assert held(workspace)["old-s0-1"].data.tags["suite.row"] == "ltm.table2: LTM;"
    write_lines(new, 1, 2, offset=500)
    sync_all(workspace)
    runs = held(workspace)
    assert runs["new-s0-1"].data.tags["suite.row"] == "ltm.table2: LTM;"
    assert runs["old-s0-1"].data.tags["suite.row"] == ""
    assert runs["old-s0-1"].data.tags["suite.kind"] == "replaced"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("HTTPConnectionPool(...): Read timed out. (read timeout=5)", "no answer in time"),
        ("... Max retries exceeded ... Connection refused", "it cannot be reached"),
        (
            "API request failed with error code 401 != 200. Response body: 'You are not",
            "MLFLOW_TRACKING_USERNAME",
        ),
        ("API request failed with error code 403 != 200. Response body: 'Permission denied'", "EDIT"),
        ("disk I/O error\nline 2", "disk I/O error"),
    ],
)
def test_reasons_are_short(message: str, reason: str) -> None:
    assert reason in short_reason(RuntimeError(message))
    assert len(short_reason(RuntimeError(message)).splitlines()) == 1


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
    failed.clear_failure()
    finish(failed)
    sync_all(workspace)
    done = held(workspace)["a-s0-1"]
    assert (done.info.status, done.data.tags["suite.failure"]) == ("FINISHED", "")


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
    workspace: Workspace, empty_store: Path, monkeypatch: pytest.MonkeyPatch, write_experiment: Any
) -> None:
    write_experiment("ltm.table2")
    for seed, name in enumerate(("a-s0-1", "b-s0-1")):
        finish(make_run(workspace, name, seed=seed))
    make_run(workspace, "never-started-s0-1")
    damaged = make_run(workspace, "damaged-s0-1")
    finish(damaged)
    damaged.spec_file.write_text("{")
    for name in ("mini", "mini-coco", "other"):
        (workspace.reports / name / "figures").mkdir(parents=True)
        (workspace.reports / name / "figures" / "a.svg").write_text("<svg/>")
    counts = sync_all(workspace)
    assert (counts.created, counts.updated, counts.unchanged, len(counts.skipped)) == (4, 0, 0, 1)
    assert "damaged-s0-1" in counts.skipped[0]
    assert set(held(workspace)) == {"a-s0-1", "b-s0-1", "report:mini", "report:mini-coco"}
    assert held(workspace)["a-s0-1"].data.tags["suite.row"] == "ltm.table2: LTM;"
    before = sync_all(workspace)
    assert (before.created, before.updated, before.unchanged) == (0, 0, 4)

    shutil.copy(empty_store, workspace.root / "again.db")
    lost = held(workspace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.root / 'again.db'}")
    assert sync_all(workspace).created == 4
    for key, run in held(workspace).items():  # all of it, whatever id MLflow gives
        assert run.data.metrics == lost[key].data.metrics
        assert run.data.params == lost[key].data.params
        assert run.data.tags == lost[key].data.tags


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
