"""Writes run directories and reports to an MLflow store: explicit run ids, one batch a request, resumable.

What is there already is found by the tag ``suite.run_id``, so that a second sync sends only what is new. In
MLflow's pages, find a table's runs with ``tags.`suite.experiment` LIKE '%ltm.table2%'``.
"""

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from suite.errors import SuiteError
from suite.files import read_json_lines
from suite.runs import RunDirectory
from suite.tracking.contents import (
    STATUSES,
    Point,
    curve_points,
    digest_of,
    has_started,
    milliseconds,
    name_of,
    params_of,
    result_points,
    run_state,
    tags_of,
)
from suite.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

Change = Literal["created", "updated", "unchanged"]

# Set before mlflow is imported. A request that fails is not repeated: the next sync sends the same again.
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
POINTS_PER_BATCH = 900  # MLflow's limit is 1000 metrics, params and tags in all


def tracking_uri(workspace: Workspace) -> str:
    """``MLFLOW_TRACKING_URI`` if it is set, else the SQLite store of the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.root.resolve() / 'mlflow.db'}"


@dataclass
class _Mirrored:
    """What MLflow holds of one run."""

    id: str
    tags: dict[str, str]
    params: set[str] = field(default_factory=set)


class Mirror:
    """Mirrors one workspace's runs and reports. Cheap to make: MLflow is imported by the first sync.

    Not safe for use by several threads at once. Every method may raise whatever MLflow raises when its store
    cannot be reached; :class:`suite.tracking.background.BackgroundMirror` turns that into one warning.

    Args:
        workspace: Where the default store and its artifacts are.
        uri: An MLflow tracking URI; by default that of :func:`tracking_uri`.
    """

    def __init__(self, workspace: Workspace, uri: str | None = None) -> None:
        self.workspace = workspace
        self.uri = uri or tracking_uri(workspace)
        self._made_client: Any = None
        self._experiments: dict[str, str] = {}
        self._mirrored: dict[str, _Mirrored] = {}

    def sync(
        self, run: RunDirectory, tables: Sequence[str] | None = None, *, running: bool = False
    ) -> Change:
        """Bring MLflow's copy of a run up to date.

        Args:
            run: The run; its experiment in MLflow is named after its preset.
            tables: Ids of the experiments that use the run; None leaves MLflow's list as it is.
            running: The run is being trained, possibly on another machine.

        Returns:
            What had to be done.

        Raises:
            SuiteError: The run's own files are damaged.
        """
        spec = run.spec()
        lines = read_json_lines(run.metrics_file)
        result = run.result()
        state = run_state(run, done=result is not None, running=running)
        tags = tags_of(run, spec, state)
        if tables is not None:
            tags["suite.experiment"] = ",".join(tables)
        if lines:
            tags["suite.started"] = lines[0]["time"]
        with self._forgetting_on_error():
            experiment = self._experiment(spec["preset"])
            known = self._mirrored.get(run.run_id)
            if (
                known is not None
                and lines
                and known.tags.get("suite.started") not in (None, tags["suite.started"])
            ):
                self._client.delete_run(known.id)  # trained anew from its first step: keep no old curves
                known = None
            change: Change = "created" if known is None else "updated"
            if known is None:
                start = milliseconds(lines[0]["time"]) if lines else None
                known = self._create(experiment, run.run_id, name_of(spec), start)
            if tables is None and "suite.experiment" in known.tags:
                tags["suite.experiment"] = known.tags["suite.experiment"]
            content = [result, len(lines), tags]
            digest = digest_of(json.dumps(content, sort_keys=True).encode())
            if known.tags.get("suite.digest") == digest:
                return "unchanged"
            self._send_lines(known, lines)
            self._log(known, list(result_points(result)) if result else [], params_of(spec), tags)
            self._send_files(known, [run.config_file, run.environment_file])
            if state == "running":
                self._client.update_run(known.id, status="RUNNING")
            else:
                last = milliseconds(lines[-1]["time"]) if lines else None
                self._client.set_terminated(
                    known.id, STATUSES[state], milliseconds(result["finished"]) if result else last
                )
            self._log(known, tags={"suite.digest": digest})  # last: anything cut short is sent again
        return change

    def sync_report(self, folder: Path, preset: str) -> Change:
        """Mirror a report: one MLflow run whose artifacts are the rendered tables and figures.

        Args:
            folder: ``reports/<name>``.
            preset: The preset whose experiment the report belongs to.
        """
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        names = [file.relative_to(folder).as_posix() for file in files]
        digest = digest_of(*(name.encode() for name in names), *(file.read_bytes() for file in files))
        key = f"report:{folder.name}"
        with self._forgetting_on_error():
            experiment = self._experiment(preset)
            known = self._mirrored.get(key)
            change: Change = "created" if known is None else "updated"
            if known is None:
                known = self._create(experiment, key, f"report {folder.name}", None)
            if known.tags.get("suite.digest") == digest:
                return "unchanged"
            for file in files:
                parent = file.parent.relative_to(folder).as_posix()
                self._client.log_artifact(known.id, str(file), None if parent == "." else parent)
            tags = {"suite.preset": preset, "suite.report": folder.name, "suite.digest": digest}
            self._log(known, tags=tags)
            self._client.set_terminated(known.id)
        return change

    @property
    def _client(self) -> Any:
        if self._made_client is None:
            for name, value in MLFLOW_SETTINGS.items():
                os.environ.setdefault(name, value)
            from mlflow.tracking import MlflowClient

            for logger in ("mlflow.store.db.utils", "alembic"):
                logging.getLogger(logger).setLevel(logging.WARNING)
            self._made_client = MlflowClient(self.uri)
        return self._made_client

    @contextlib.contextmanager
    def _forgetting_on_error(self) -> Iterator[None]:
        """After an error, read the store's state again: somebody may have deleted a run there."""
        try:
            yield
        except BaseException:
            self._experiments.clear()
            self._mirrored.clear()
            raise

    def _experiment(self, preset: str) -> str:
        """Id of a preset's experiment, made if absent; the first time, reads which runs it has."""
        if preset not in self._experiments:
            found = self._client.get_experiment_by_name(preset)
            if found is not None and found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            if found is None:
                self._experiments[preset] = self._make_experiment(preset)
            else:
                self._read_runs(found.experiment_id)
                self._experiments[preset] = found.experiment_id
        return self._experiments[preset]

    def _make_experiment(self, preset: str) -> str:
        from mlflow.exceptions import MlflowException

        local = (self.workspace.root.resolve() / "mlartifacts" / preset).as_uri()
        try:
            # A server decides itself where artifacts go.
            return str(
                self._client.create_experiment(preset, local if self.uri.startswith("sqlite:") else None)
            )
        except MlflowException:
            found = self._client.get_experiment_by_name(preset)  # another driver may have been faster
            if found is None:
                raise
            return str(found.experiment_id)

    def _read_runs(self, experiment: str) -> None:
        token = None
        while True:
            page = self._client.search_runs([experiment], max_results=200, page_token=token)
            for run in page:
                if "suite.run_id" in run.data.tags:
                    mirrored = _Mirrored(run.info.run_id, dict(run.data.tags), set(run.data.params))
                    self._mirrored[run.data.tags["suite.run_id"]] = mirrored
            token = page.token
            if not token:
                return

    def _create(self, experiment: str, key: str, name: str, start: int | None) -> _Mirrored:
        tags = {"suite.run_id": key}
        made = self._client.create_run(experiment, start_time=start, run_name=name, tags=tags)
        self._mirrored[key] = _Mirrored(made.info.run_id, tags)
        return self._mirrored[key]

    def _log(
        self,
        known: _Mirrored,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """One request with the metrics, and the params and tags that MLflow lacks."""
        from mlflow.entities import Metric, Param, RunTag

        new_params = {name: value for name, value in (params or {}).items() if name not in known.params}
        new_tags = {name: value for name, value in (tags or {}).items() if known.tags.get(name) != value}
        if not (points or new_params or new_tags):
            return
        self._client.log_batch(
            known.id,
            metrics=[Metric(*point) for point in points],
            params=[Param(name, value) for name, value in new_params.items()],
            tags=[RunTag(name, value) for name, value in new_tags.items()],
        )
        known.params.update(new_params)
        known.tags.update(new_tags)

    def _send_lines(self, known: _Mirrored, lines: list[dict[str, Any]]) -> None:
        """Send the lines of ``metrics.jsonl`` that MLflow does not have.

        The tag ``suite.lines`` keeps their number and the last one's time. A file that has another line in
        that place went back to a checkpoint, and is sent whole: MLflow keeps equal points once.
        """
        sent, _, last = known.tags.get("suite.lines", "0@").partition("@")
        first = int(sent)
        if first and (first > len(lines) or lines[first - 1]["time"] != last):
            first = 0
        batch: list[Point] = []
        for count, line in enumerate(lines[first:], start=first + 1):
            batch.extend(curve_points(line))
            if len(batch) >= POINTS_PER_BATCH or count == len(lines):
                self._log(known, batch, tags={"suite.lines": f"{count}@{line['time']}"})
                batch = []

    def _send_files(self, known: _Mirrored, files: Sequence[Path]) -> None:
        for file in files:
            tag = f"suite.sha.{file.name}"
            if file.exists() and known.tags.get(tag) != (digest := digest_of(file.read_bytes())):
                self._client.log_artifact(known.id, str(file))
                self._log(known, tags={tag: digest})


@dataclass
class SyncCounts:
    """What a sync of the whole workspace did.

    Attributes:
        created: Runs and reports that MLflow did not have.
        updated: Those that it had in an older state.
        unchanged: Those that it had already.
        skipped: One line for each run directory left out because its files are damaged.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: list[str] = field(default_factory=list)


def sync_all(
    workspace: Workspace,
    console: "Console | None" = None,
    tables: Mapping[str, Sequence[str]] | None = None,
) -> SyncCounts:
    """Bring MLflow up to date with every run that was ever started and every report; rebuilds a lost store.

    Args:
        workspace: Where runs and reports are.
        console: Where to print what was done, if anywhere.
        tables: Run id -> ids of the experiments that use it, where known.

    Raises:
        SuiteError: The store cannot be reached.
    """
    mirror = Mirror(workspace)
    counts = SyncCounts()
    presets: set[str] = set()

    def count(change: Change) -> None:
        setattr(counts, change, getattr(counts, change) + 1)

    try:
        for spec_file in sorted(workspace.runs.glob("*/spec.json")):
            run = RunDirectory(spec_file.parent)
            if not has_started(run):
                continue
            try:
                count(mirror.sync(run, None if tables is None else tables.get(run.run_id)))
                presets.add(run.spec()["preset"])
            except SuiteError as error:
                counts.skipped.append(error.message)
        for folder in sorted(path for path in workspace.reports.glob("*") if path.is_dir()):
            # reports/mini-<dataset> is a report of preset mini on another dataset
            owners = [preset for preset in presets if f"{folder.name}-".startswith(f"{preset}-")]
            if owners:
                count(mirror.sync_report(folder, max(owners, key=len)))
    except Exception as error:
        raise SuiteError(
            f"MLflow at {mirror.uri}: {short_reason(error)}",
            "Start that server, or unset MLFLOW_TRACKING_URI to use mlflow.db here; then run this again.",
        ) from error
    if console is not None:
        console.print(
            f"MLflow at {mirror.uri}: {counts.created} runs and reports added, {counts.updated} updated, "
            f"{counts.unchanged} unchanged, {len(counts.skipped)} left out.",
            *counts.skipped,
            sep="\n  ",
            markup=False,
            highlight=False,
        )
    return counts


def short_reason(error: BaseException) -> str:
    """Why MLflow failed, in a few words; its own messages for an unreachable server fill a screen."""
    text = str(error).strip() or type(error).__name__
    if re.search("ReadTimeout|ConnectTimeout|timed out", text):
        return "no answer in time"
    if re.search("NewConnectionError|NameResolutionError|Connection refused|RemoteDisconnected", text):
        return "it cannot be reached"
    return text.splitlines()[0][:200]
