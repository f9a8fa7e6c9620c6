"""MLflow's pages for one workspace: a server on the loopback interface only."""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite.errors import SuiteError
from suite.tracking.contents import started_runs
from suite.tracking.store import MLFLOW_SETTINGS, tracking_uri
from suite.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

HOST = "127.0.0.1"
START_SECONDS = 90.0


def serve(workspace: Workspace, port: int, console: "Console") -> None:
    """Serve the store until interrupted, print where, and bring it up to date meanwhile.

    Args:
        workspace: Whose store to show.
        port: The port to use if it is free; otherwise the next free one.
        console: Where to print.

    Raises:
        SuiteError: There is nothing to show, or the server does not start.
    """
    uri = tracking_uri(workspace)
    if not uri.startswith("sqlite:"):
        raise SuiteError(
            f"MLFLOW_TRACKING_URI is {uri}: the runs are on that server.",
            "Open its pages in a browser, or unset MLFLOW_TRACKING_URI to see the store in this folder.",
        )
    if not started_runs(workspace):
        raise SuiteError(
            f"{workspace.runs}: no runs to show yet.", "Train some first: make reproduce-tables PRESET=smoke."
        )
    signal.signal(signal.SIGTERM, _interrupt)  # so that the server ends with this process
    with server(workspace, uri, free_port(port)) as (url, process), contextlib.suppress(KeyboardInterrupt):
        console.print(f"MLflow: {url}   (Ctrl-C ends it)", markup=False, highlight=False)
        # Only now: the server has made the store. In a process of its own, whose memory is free afterwards.
        multiprocessing.get_context("spawn").Process(
            target=_bring_up_to_date, args=(workspace, uri, url), daemon=True
        ).start()
        process.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _bring_up_to_date(workspace: Workspace, uri: str, url: str) -> None:
    """Print where each preset's runs are shown, and send what the store lacks."""
    from rich.console import Console

    from suite.tracking.context import WorkspaceContext
    from suite.tracking.mlflow_mirror import Mirror
    from suite.tracking.sync import sync_all
    from suite.tracking.views import view_address

    console = Console(soft_wrap=True, highlight=False)
    try:
        mirror = Mirror(workspace, uri, WorkspaceContext.of(workspace))
        for preset in sorted(filter(None, started_runs(workspace))):
            console.print(f"{preset}: {view_address(url, mirror.experiment(preset))}", markup=False)
        sync_all(workspace, console, mirror)
    except KeyboardInterrupt:
        pass  # the next start goes on
    except SuiteError as error:
        console.print(f"error: {error}", markup=False)


def free_port(wanted: int) -> int:
    """``wanted`` if it is free, else the first free port of the 20 after it, else any."""
    for port in [*range(wanted, min(wanted + 20, 65535) + 1), 0]:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
            return int(listener.getsockname()[1])
    raise SuiteError(f"no free port on {HOST}.", "Close some programs.")


@contextlib.contextmanager
def server(workspace: Workspace, uri: str, port: int) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """An MLflow server that answers, as (URL, process); it is ended when the block is left.

    One worker and no job runner: that starts twice as fast and takes a third of the memory.

    Raises:
        SuiteError: It ended or did not answer in time.
    """
    command = [
        sys.executable, "-m", "mlflow", "server",
        "--backend-store-uri", uri,
        "--artifacts-destination", (workspace.root.resolve() / "mlartifacts").as_uri(),
        "--host", HOST, "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    environment = {**os.environ, **MLFLOW_SETTINGS, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    url = f"http://{HOST}:{port}"
    with tempfile.TemporaryFile() as log:
        # Its own session: the server's workers end with it, and Ctrl-C reaches this process alone.
        process = subprocess.Popen(
            command, cwd=workspace.root, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            if not _answers(url, process):
                log.seek(0)
                tail = "\n".join(log.read().decode(errors="replace").splitlines()[-8:])
                raise SuiteError(
                    f"MLflow's server did not start on port {port}:\n{tail}", "Try another --port."
                )
            yield url, process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(url: str, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until the server answers; False if it ends or takes longer than START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), direct.open(f"{url}/health", timeout=2):
            return True
        time.sleep(0.2)
    return False
