"""Mirrors runs from a thread of the driver, so that MLflow can never slow down or stop a training."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from suite.runs import RunDirectory
from suite.tracking.contents import has_started
from suite.tracking.mlflow_mirror import Mirror, short_reason
from suite.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

BACK_OFF = (60.0, 600.0)
"""Seconds to wait after the first failure, and at most, doubling in between."""


class BackgroundMirror:
    """Watches run directories and sends what they gain to MLflow: a context manager around the trainings.

    A store that fails or hangs costs one warning. Nothing is lost by that: ``suite mlflow-sync`` sends
    everything from the run directories.

    Args:
        workspace: Where the default store is.
        runs: Each run with the ids of the experiments that use it.
        console: Where to print the warning.
        interval: Seconds between two looks at the run directories.
        patience: Seconds to wait at the end, at most, for what is still to be sent.
    """

    def __init__(
        self,
        workspace: Workspace,
        runs: Sequence[tuple[RunDirectory, Sequence[str]]],
        console: "Console",
        interval: float = 20.0,
        patience: float = 15.0,
    ) -> None:
        self._mirror = Mirror(workspace)
        self._runs = list(runs)
        self._console = console
        self._interval = interval
        self._patience = patience
        self._closing = threading.Event()
        self._warned = False
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    def __enter__(self) -> "BackgroundMirror":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._warn(f"still busy after {self._patience:.0f} s")

    def _work(self) -> None:
        pause, back_off = self._interval, BACK_OFF[0]
        closing = False
        while not closing:
            closing = self._closing.wait(pause)
            try:
                self._send(closing)
                pause, back_off = self._interval, BACK_OFF[0]
            except Exception as error:
                self._warn(short_reason(error))
                pause, back_off = back_off, min(2 * back_off, BACK_OFF[1])

    def _send(self, closing: bool) -> None:
        """Send what the runs have gained; at the end, a run that is neither done nor failed has stopped."""
        unsettled = []
        for run, tables in self._runs:
            complete = run.result_file.exists()  # read before sending: what comes later is sent next time
            if has_started(run):
                self._mirror.sync(run, tables, running=not closing and run.failure() is None)
            if not complete:
                unsettled.append((run, tables))
        self._runs = unsettled

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self._console.print(
                f"warning: MLflow at {self._mirror.uri} does not keep up ({reason}). "
                "Trainings go on; `suite mlflow-sync` sends everything later.",
                markup=False,
                highlight=False,
            )
