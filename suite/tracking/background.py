"""Mirrors runs from a thread of the driver, so that MLflow can never slow down or stop a training."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import SuiteError
from suite.runs.directory import RunDirectory
from suite.tracking.contents import has_started, spec_of
from suite.tracking.context import WorkspaceContext
from suite.tracking.damage import Unsendable
from suite.tracking.mlflow_mirror import Mirror
from suite.tracking.store import short_reason
from suite.tracking.studies import read_studies
from suite.tracking.system import SystemSampler
from suite.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

BACK_OFF = (60.0, 600.0)
"""Seconds to wait after the first failure, which double with each further one, and the most."""

BRIEF = 2.0
"""Seconds to wait at the end for a store that failed the last time: it may be back."""


class BackgroundMirror:
    """Watches run directories and sends what they gain to MLflow: a context manager around the trainings.

    A store that fails or hangs costs one warning. Nothing is lost by that: ``suite mlflow-sync`` sends
    everything from the run directories. A run whose files are damaged costs one warning, and is left out.

    Args:
        workspace: Where the default store is.
        runs: Each run that will be trained.
        console: Where to print the warning.
        interval: Seconds between two looks at the run directories.
        patience: Seconds to wait at the end, at most, for what is still to be sent; :data:`BRIEF` for a store
            that failed the last time.
        study: Folder of the study whose trials the runs are.
    """

    def __init__(
        self,
        workspace: Workspace,
        runs: Sequence[RunDirectory],
        console: "Console",
        interval: float = 10.0,
        patience: float = 15.0,
        study: Path | None = None,
    ) -> None:
        self._workspace = workspace
        self._nowhere = WorkspaceContext()
        self._mirror = Mirror(workspace, context=self._nowhere)
        self._runs = list(runs)
        self._study = study
        self._console = console
        self._interval = interval
        self._patience = patience
        self._sampler = SystemSampler()
        self._closing = threading.Event()
        self._failing = False
        self._warned = False
        self._damaged: set[Path] = set()
        """Folders of the runs and studies that a warning was printed for."""
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
        self._sampling = threading.Thread(target=self._sample, name="system-metrics", daemon=True)

    def add(self, run: RunDirectory) -> None:
        """Watch one more run, whose ``spec.json`` is written; from any thread."""
        if run.path not in [known.path for known in list(self._runs)]:
            self._runs.append(run)

    def __enter__(self) -> "BackgroundMirror":
        self._thread.start()
        self._sampling.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._thread.join(min(self._patience, BRIEF) if self._failing else self._patience)
        if self._thread.is_alive():
            self._warn("still busy at the end")

    def _work(self) -> None:
        pause, back_off = self._interval, BACK_OFF[0]
        closing = False
        while not closing:
            closing = self._closing.wait(pause)
            try:
                self._send(closing)
                pause, back_off, self._failing = self._interval, BACK_OFF[0], False
            except Exception as error:
                self._failing = True
                self._warn(short_reason(error))
                pause, back_off = back_off, min(2 * back_off, BACK_OFF[1])

    def _send(self, closing: bool) -> None:
        """Send what the runs have gained; at the end, a run that is neither done nor failed has stopped."""
        started = [run for run in list(self._runs) if has_started(run)]
        if not started:
            return
        self._look_around()
        for study in self._mirror.context.studies:
            if study.folder == self._study:
                with self._leaving_out(study.folder):
                    self._mirror.sync_study(study)
        for run in started:
            complete = run.result_file.exists()  # read before sending: what comes later is sent next time
            with self._leaving_out(run.path):
                self._mirror.sync(run, running=not closing and self._is_running(run))
                if complete and self._study is None:
                    self._runs.remove(run)

    def _look_around(self) -> None:
        """Know what else is in the workspace: experiments that use the runs, studies as they are now."""
        if self._mirror.context is self._nowhere:
            self._mirror.context = WorkspaceContext.of(self._workspace)
        for run in self._runs:
            with contextlib.suppress(Unsendable):  # named when it is sent
                self._mirror.context.begin(run.run_id, spec_of(run))
        if self._study is not None:
            self._mirror.context.studies = read_studies(self._workspace)

    def _is_running(self, run: RunDirectory) -> bool:
        """Whether a run goes on, as far as its files tell: a trial that was pruned does not."""
        trials = self._mirror.context.of_run(run.run_id, spec_of(run)).trials
        if trials:
            return any(trial.get("state") == "RUNNING" for _, trial in trials)
        return run.failure() is None

    def _sample(self) -> None:
        while not self._closing.wait(self._interval):
            for run in list(self._runs):
                with contextlib.suppress(OSError, SuiteError):  # a full disk is the training's to report
                    self._sampler.sample(run)

    @contextlib.contextmanager
    def _leaving_out(self, folder: Path) -> Iterator[None]:
        """Leave out a run or study one of whose files is damaged, with one warning; the others go on."""
        try:
            yield
        except Unsendable as error:
            if folder not in self._damaged:
                self._damaged.add(folder)
                self._console.print(
                    f"warning: MLflow: {folder.name} is left out, the others are sent: {error.message}",
                    markup=False,
                    highlight=False,
                )

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self._console.print(
                f"warning: MLflow at {self._mirror.uri} does not keep up ({reason}). "
                "Trainings go on; `suite mlflow-sync` sends everything later.",
                markup=False,
                highlight=False,
            )
