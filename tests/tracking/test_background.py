import io
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from suite.tracking.background import BackgroundMirror
from suite.tracking.store import tracking_uri
from suite.workspace import Workspace

from .run_files import finish, make_run, write_lines


@pytest.fixture
def hanging_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def take() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()


def console() -> Console:
    return Console(file=io.StringIO(), width=300)


def printed(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def status(workspace: Workspace, run_id: str) -> str | None:
    client = MlflowClient(tracking_uri(workspace))
    experiment = client.get_experiment_by_name("mini")
    if experiment is None:
        return None
    runs = client.search_runs([experiment.experiment_id], f"tags.`suite.run_id` = '{run_id}'")
    return str(runs[0].info.status) if runs else None


def test_runs_appear_while_they_train_and_end_with_their_state(workspace: Workspace) -> None:
    names = ("a-s0-1", "b-s0-1", "c-s0-1", "d-s0-1")
    done, failed, stopped, waiting = (make_run(workspace, name) for name in names)
    out = console()
    with BackgroundMirror(workspace, [done, failed, stopped, waiting], out, 0.1):
        for run in (done, failed, stopped):
            write_lines(run, 1, 2)
        deadline = time.monotonic() + 20
        while status(workspace, "c-s0-1") != "RUNNING" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert status(workspace, "a-s0-1") == "RUNNING"
        finish(done)
        failed.write_failure("out of memory")
    assert [status(workspace, name) for name in names] == ["FINISHED", "FAILED", "KILLED", None]
    assert printed(out) == ""


def test_unreachable_server_costs_one_warning(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("suite.tracking.background.BACK_OFF", (0.2, 0.4))
    run = make_run(workspace)
    write_lines(run, 1, 2)
    out = console()
    started = time.monotonic()
    with BackgroundMirror(workspace, [run], out, 0.1):
        time.sleep(2)
    assert time.monotonic() - started < 10
    assert printed(out).count("warning: MLflow at http://127.0.0.1:9") == 1
    assert "suite mlflow-sync" in printed(out)


def test_hanging_server_does_not_hold_up_the_end(
    workspace: Workspace, hanging_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hanging_server)
    run = make_run(workspace)
    write_lines(run, 1, 2)
    out = console()
    started = time.monotonic()
    with BackgroundMirror(workspace, [run], out, 0.1, patience=1):
        assert time.monotonic() - started < 1
        time.sleep(0.5)
    assert time.monotonic() - started < 4
    assert printed(out).count("warning: MLflow") == 1


def test_requests_to_a_hanging_server_time_out(
    workspace: Workspace, hanging_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hanging_server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    run = make_run(workspace)
    finish(run)
    out = console()
    started = time.monotonic()
    with BackgroundMirror(workspace, [run], out, patience=20):
        pass
    assert time.monotonic() - started < 10
    assert "no answer in time" in printed(out)


def test_nothing_to_do_is_no_contact(workspace: Workspace) -> None:
    (workspace.root / "mlflow.db").unlink()
    with BackgroundMirror(workspace, [make_run(workspace)], console(), 0.05):
        time.sleep(0.2)
    assert not (workspace.root / "mlflow.db").exists()
