import io
import json
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest
from rich.console import Console

from suite.errors import SuiteError
from suite.tracking.mlflow_mirror import Mirror
from suite.tracking.store import tracking_uri
from suite.tracking.sync import sync_all
from suite.tracking.ui import free_port, serve, server
from suite.workspace import Workspace

from .run_files import finish, make_run, write_lines


def test_server_shows_the_store_and_takes_a_mirror(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 2)
    finish(run)
    sync_all(workspace)
    with server(workspace, tracking_uri(workspace), free_port(5000)) as (url, process):
        with urllib.request.urlopen(
            f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=mini"
        ) as answer:
            experiment = json.load(answer)["experiment"]
        assert experiment["artifact_location"].endswith("/mlartifacts/mini")
        # As somebody's tracking server: the run is found there, and others are added over HTTP.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        assert Mirror(workspace).sync(run) == "unchanged"
        other = make_run(workspace, "retinanet-s0-1", method="retinanet")
        write_lines(other, 1, 700)
        finish(other)
        (workspace.reports / "mini").mkdir(parents=True)
        (workspace.reports / "mini" / "index.html").write_text("<p>tables</p>")
        counts = sync_all(workspace)
        assert (counts.created, counts.unchanged) == (2, 1)
        assert sync_all(workspace).unchanged == 3
    assert process.poll() is not None


def test_command_prints_where_the_runs_are_and_leaves_nothing_behind(workspace: Workspace) -> None:
    run = make_run(workspace)
    write_lines(run, 1, 2)
    finish(run)
    command = [sys.executable, "-m", "suite.cli", "ui", "--port", str(free_port(5300))]
    with subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        url = lines[0].split()[1]
        assert url.startswith("http://127.0.0.1:")
        assert lines[1].startswith(f"mini: {url}/#/experiments/")
        assert "1 runs, studies and reports added" in lines[2]
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.terminate()
        process.wait(20)
    assert psutil.wait_procs(children, timeout=20)[1] == []


def test_empty_workspace_says_what_to_do(workspace: Workspace) -> None:
    with pytest.raises(SuiteError, match="no runs to show yet"):
        serve(workspace, 5000, Console(file=io.StringIO()))


def test_runs_on_a_server_are_not_here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    with pytest.raises(SuiteError, match=r"http://mlflow\.example:5000"):
        serve(workspace, 5000, Console(file=io.StringIO()))


def test_a_taken_port_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


@pytest.mark.slow
def test_server_that_cannot_start_says_why(workspace: Workspace) -> None:
    with (
        pytest.raises(SuiteError, match="did not start"),
        server(workspace, "nonsense://store", free_port(5000)),
    ):
        pass
