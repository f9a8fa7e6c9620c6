"""An MLflow store as the mirror uses it: explicit run ids, one batch per request, every call repeatable."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.locks import locked
from suite.tracking.contents import Point, digest_of
from suite.tracking.damage import Unsendable, reading
from suite.workspace import Workspace

# Set before mlflow is imported. A request that fails is not repeated: the next sync sends the same again.
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
POINTS_PER_BATCH = 900  # MLflow's limit is 1000 metrics, params and tags in all
RUN_ID = "suite.run_id"
"""The tag by which a run of the suite, a study or a report is found again."""


def tracking_uri(workspace: Workspace) -> str:
    """``MLFLOW_TRACKING_URI`` if it is set, else the SQLite store of the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.root.resolve() / 'mlflow.db'}"


def short_reason(error: BaseException) -> str:
    """Why MLflow failed, in a few words; its own messages for an unreachable server fill a screen."""
    text = str(error).strip() or type(error).__name__
    if re.search("ReadTimeout|ConnectTimeout|timed out", text):
        return "no answer in time"
    if re.search("NewConnectionError|NameResolutionError|Connection refused|RemoteDisconnected", text):
        return "it cannot be reached"
    if "error code 401" in text:
        return "it asks for another MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if "error code 403" in text or "PERMISSION_DENIED" in text:
        return "the user may not write there: permission EDIT on the experiment is needed"
    return text.splitlines()[0][:200]


@dataclass
class Mirrored:
    """What MLflow holds of one run, study or report."""

    id: str
    tags: dict[str, str]
    params: set[str] = field(default_factory=set)


class Store:
    """The runs of an MLflow store that carry the tag :data:`RUN_ID`. MLflow is imported by the first call.

    Not safe for use by several threads at once. Every method may raise whatever MLflow raises.

    Args:
        workspace: Where the default store and its artifacts are.
        uri: An MLflow tracking URI.
    """

    def __init__(self, workspace: Workspace, uri: str) -> None:
        self.uri = uri
        self._root = workspace.root.resolve()
        self._made_client: Any = None
        self._experiments: dict[str, str] = {}
        self._mirrored: dict[str, Mirrored] = {}

    @property
    def client(self) -> Any:
        """The ``MlflowClient``."""
        if self._made_client is None:
            for name, value in MLFLOW_SETTINGS.items():
                os.environ.setdefault(name, value)
            import logging

            logging.getLogger("alembic").setLevel(logging.WARNING)
            from mlflow.tracking import MlflowClient

            self._made_client = MlflowClient(self.uri)
        return self._made_client

    @contextlib.contextmanager
    def forgetting_on_error(self) -> Iterator[None]:
        """After an error of the store, read its state again: somebody may have deleted a run there."""
        try:
            yield
        except Unsendable:
            raise
        except BaseException:
            self._experiments.clear()
            self._mirrored.clear()
            raise

    def experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Id of an experiment, made if absent; the first time, sets its tags and reads which runs it has.

        Args:
            name: Its name.
            tags: Tags of the experiment. One that a person changed in MLflow's pages is not set again.
        """
        if name not in self._experiments:
            with self._alone():
                found = self.client.get_experiment_by_name(name)
                if found is not None and found.lifecycle_stage == "deleted":
                    self.client.restore_experiment(found.experiment_id)
                identifier = self._make_experiment(name) if found is None else str(found.experiment_id)
            own = dict(found.tags) if found is not None else {}
            known = own.get("suite.tags", "")
            digest = digest_of(repr(sorted(tags.items())).encode())
            if known != digest:
                for key, value in {**tags, "suite.tags": digest}.items():
                    if own.get(key) != value:
                        self.client.set_experiment_tag(identifier, key, value)
            if found is not None:
                self._read_runs(identifier)
            self._experiments[name] = identifier
        return self._experiments[name]

    def known(self, key: str) -> Mirrored | None:
        """What the store is known to hold under a key."""
        return self._mirrored.get(key)

    def create(
        self, experiment: str, key: str, name: str, start: int | None, tags: Mapping[str, str]
    ) -> Mirrored:
        """A new run under ``key``, or the one that another process has made meanwhile.

        Args:
            experiment: Id of the experiment.
            key: Value of the tag :data:`RUN_ID`.
            name: Its name, for people.
            start: Start in ms since 1970; None for now.
            tags: Its first tags.
        """
        with self._alone():
            wanted = f"tags.`{RUN_ID}` = '{key}'"
            there = self.client.search_runs([experiment], wanted, max_results=1)
            if there:
                self._remember(there[0])
            else:
                tags = {**{name: value for name, value in tags.items() if value}, RUN_ID: key}
                made = self.client.create_run(experiment, start_time=start, run_name=name, tags=tags)
                self._mirrored[key] = Mirrored(made.info.run_id, dict(tags))
        return self._mirrored[key]

    def delete(self, key: str) -> None:
        """Delete the run under a key."""
        self.client.delete_run(self._mirrored.pop(key).id)

    def log(
        self,
        known: Mirrored,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Send metrics, and the params and tags that MLflow lacks, in one request."""
        from mlflow.entities import Metric, Param, RunTag

        new_params = {name: value for name, value in (params or {}).items() if name not in known.params}
        new_tags = {name: value for name, value in (tags or {}).items() if known.tags.get(name, "") != value}
        if not (points or new_params or new_tags):
            return
        with self._alone() if new_params else contextlib.nullcontext():
            self.client.log_batch(
                known.id,
                metrics=[Metric(*point) for point in points],
                params=[Param(name, value) for name, value in new_params.items()],
                tags=[RunTag(name, value) for name, value in new_tags.items()],
            )
        known.params.update(new_params)
        known.tags.update(new_tags)

    def log_points(self, known: Mirrored, points: Sequence[Point]) -> None:
        """Send points, in as many requests as they need."""
        for first in range(0, len(points), POINTS_PER_BATCH):
            self.log(known, points[first : first + POINTS_PER_BATCH])

    def log_files(self, known: Mirrored, files: Sequence[Path]) -> dict[str, str]:
        """Send the files that MLflow lacks; returns the tags that say so, for the caller to log."""
        sent = {}
        for file in files:
            if not file.exists():
                continue
            with reading(file):
                digest = digest_of(file.read_bytes())
            tag = f"suite.sha.{file.name}"
            if known.tags.get(tag) != digest:
                self.client.log_artifact(known.id, str(file))
                sent[tag] = digest
        return sent

    def log_dataset(self, known: Mirrored, dataset: Mapping[str, Any]) -> dict[str, str]:
        """State the dataset that a run was trained on: name, kind and fingerprint of ``spec.json``.

        Returns:
            The tag that says so, for the caller to log.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest = dataset["fingerprint"][:36]  # MLflow's limit
        if known.tags.get("suite.dataset") == digest:
            return {}
        entity = Dataset(dataset["name"], digest, dataset["kind"], dataset["name"])
        context = [InputTag("mlflow.data.context", "training")]
        with self._alone():
            self.client.log_inputs(known.id, [DatasetInput(entity, context)])
        return {"suite.dataset": digest}

    def finish(self, known: Mirrored, status: str, end: int | None) -> None:
        """Set a run's status, and its end in ms since 1970 unless it is RUNNING."""
        if status == "RUNNING":
            self.client.update_run(known.id, status=status)
        else:
            self.client.set_terminated(known.id, status, end)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process of this machine at a time make what must not be there twice.

        MLflow's tables have constraints that two who write the same param or dataset at once would break.
        """
        if not self.uri.startswith("sqlite:"):
            yield
            return
        with locked(self._root / "mlflow.db.lock"):
            yield

    def _make_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        local = (self._root / "mlartifacts" / name).as_uri()
        try:
            # A server decides itself where artifacts go.
            return str(self.client.create_experiment(name, local if self.uri.startswith("sqlite:") else None))
        except MlflowException:
            found = self.client.get_experiment_by_name(name)  # another driver may have been faster
            if found is None:
                raise
            return str(found.experiment_id)

    def _read_runs(self, experiment: str) -> None:
        token = None
        while True:
            page = self.client.search_runs([experiment], max_results=200, page_token=token)
            for run in page:
                self._remember(run)
            token = page.token
            if not token:
                return

    def _remember(self, run: Any) -> None:
        """Keep what a search found. Of two runs that two machines made under one key, delete one."""
        key = run.data.tags.get(RUN_ID)
        if key is None:
            return
        other = self._mirrored.get(key)
        if other is not None and other.id != run.info.run_id:
            self.client.delete_run(max(other.id, run.info.run_id))
            if other.id < run.info.run_id:
                return
        self._mirrored[key] = Mirrored(run.info.run_id, dict(run.data.tags), set(run.data.params))
