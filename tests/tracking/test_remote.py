"""The mirror and a tracking server on a network: slow, silent, dead, back again."""

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from suite.runs.directory import RunDirectory
from suite.tracking.background import BackgroundMirror
from suite.tracking.sync import sync_all
from suite.workspace import Workspace

from .proxy import Proxy
from .run_files import finish, make_run, write_lines


@pytest.fixture
def proxy(tracking_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A way to that server which fails on demand; ``MLFLOW_TRACKING_URI`` leads there."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr("suite.tracking.background.BACK_OFF", (0.2, 0.4))
    with Proxy(int(tracking_server.rpartition(":")[2])) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        yield proxy


def told(tracking_server: str, run: RunDirectory) -> Any:
    """What the server holds of a run; None if nothing."""
    client = MlflowClient(tracking_server)
    experiment = client.get_experiment_by_name("mini")
    if experiment is None:
        return None
    found = client.search_runs([experiment.experiment_id], f"tags.`suite.run_id` = '{run.run_id}'")
    return found[0] if found else None


def steps(tracking_server: str, run: RunDirectory) -> list[int]:
    run_id = told(tracking_server, run).info.run_id
    return [point.step for point in MlflowClient(tracking_server).get_metric_history(run_id, "train/loss")]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert condition()


def console() -> Console:
    return Console(file=io.StringIO(), width=300)


@pytest.mark.parametrize("failure", ["swallow", "refuse"])
def test_server_that_dies_mid_run_and_comes_back(
    workspace: Workspace, tracking_server: str, proxy: Proxy, failure: Any
) -> None:
    run = make_run(workspace, f"{failure}-s0-1")
    write_lines(run, 1, 3)
    out = console()
    with BackgroundMirror(workspace, [run], out, 0.1):
        wait_for(lambda: told(tracking_server, run) is not None and steps(tracking_server, run) == [1, 2, 3])
        proxy.mode = failure
        proxy.cut()
        write_lines(run, 4, 6, mode="a")
        wait_for(lambda: "does not keep up" in out.file.getvalue())
        write_lines(run, 7, 9, mode="a")
        proxy.mode = "pass"
        proxy.cut()
        wait_for(lambda: steps(tracking_server, run) == list(range(1, 10)))
        finish(run)
    wait_for(lambda: told(tracking_server, run).info.status == "FINISHED")
    assert out.file.getvalue().count("warning") == 1


def test_server_that_is_dead_at_the_end_gets_everything_by_the_next_sync(
    workspace: Workspace, tracking_server: str, proxy: Proxy
) -> None:
    run = make_run(workspace, "late-s0-1")
    write_lines(run, 1, 700)
    proxy.mode = "refuse"
    out = console()
    with BackgroundMirror(workspace, [run], out, 0.1):
        wait_for(lambda: "suite mlflow-sync" in out.file.getvalue())
        finish(run)
    assert told(tracking_server, run) is None
    proxy.mode = "pass"
    assert sync_all(workspace).created == 1
    assert steps(tracking_server, run) == list(range(1, 701))
    assert told(tracking_server, run).data.metrics["AP"] == 40.0


def test_sync_that_loses_its_server_goes_on_where_it_was(
    workspace: Workspace, tracking_server: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run(workspace, f"cut-s{seed}-1", seed=seed) for seed in range(3)]
    for run in runs:
        write_lines(run, 1, 5)
        finish(run)
    original = MlflowClient.log_artifact
    sent: list[str] = []

    def lose(self: MlflowClient, run_id: str, path: str, *rest: Any) -> Any:
        sent.append(path)
        if len(sent) == 4:  # in the middle of the second run
            proxy.mode = "refuse"
            proxy.cut()
        return original(self, run_id, path, *rest)

    with monkeypatch.context() as patch, pytest.raises(Exception, match=r"127\.0\.0\.1"):
        patch.setattr(MlflowClient, "log_artifact", lose)
        sync_all(workspace)
    proxy.mode = "pass"
    counts = sync_all(workspace)
    assert (counts.created, counts.updated, counts.unchanged) == (1, 1, 1)
    for run in runs:
        assert steps(tracking_server, run) == [1, 2, 3, 4, 5]
        assert told(tracking_server, run).info.status == "FINISHED"


def test_slow_server_gets_everything_in_the_end(
    workspace: Workspace, tracking_server: str, proxy: Proxy
) -> None:
    run = make_run(workspace, "slow-s0-1")
    write_lines(run, 1, 3)
    proxy.mode = "delay"
    out = console()
    with BackgroundMirror(workspace, [run], out, 0.1, patience=60):
        wait_for(lambda: told(tracking_server, run) is not None)
        write_lines(run, 4, 6, mode="a")
        finish(run)
    assert steps(tracking_server, run) == list(range(1, 7))
    assert told(tracking_server, run).info.status == "FINISHED"
    assert out.file.getvalue() == ""
