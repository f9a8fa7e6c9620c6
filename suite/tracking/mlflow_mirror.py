"""Mirrors runs, studies and reports to an MLflow store. A second sync sends only what is new."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from suite.files import read_json_lines
from suite.runs.directory import RunDirectory
from suite.tracking.contents import (
    STATUSES,
    Point,
    asked,
    curve_points,
    digest_of,
    milliseconds,
    params_of,
    result_points,
    run_state,
    spec_of,
    system_points,
    tags_of,
)
from suite.tracking.context import WorkspaceContext
from suite.tracking.damage import reading, sending
from suite.tracking.headlines import annotations_of, headline_slices
from suite.tracking.store import POINTS_PER_BATCH, Mirrored, Store, short_reason, tracking_uri
from suite.tracking.studies import TrackedStudy
from suite.tracking.system import system_file
from suite.tracking.views import experiment_tags
from suite.workspace import Workspace

__all__ = ["Change", "Mirror", "short_reason"]

Change = Literal["created", "updated", "unchanged"]


class Mirror:
    """Mirrors one workspace's runs, studies and reports. Cheap to make: MLflow is imported by the first sync.

    Not safe for use by several threads at once. Every method may raise whatever MLflow raises when its store
    cannot be reached; :class:`suite.tracking.background.BackgroundMirror` turns that into one warning.

    Args:
        workspace: Where the default store and its artifacts are.
        uri: An MLflow tracking URI; by default that of :func:`suite.tracking.store.tracking_uri`.
        context: Where runs stand among the others; by default nowhere.
    """

    def __init__(
        self, workspace: Workspace, uri: str | None = None, context: WorkspaceContext | None = None
    ) -> None:
        self.workspace = workspace
        self.uri = uri or tracking_uri(workspace)
        self.context = WorkspaceContext() if context is None else context
        self._store = Store(workspace, self.uri)

    def experiment(self, preset: str) -> str:
        """Id of a preset's experiment in MLflow, made if absent."""
        with self._store.forgetting_on_error():
            return self._store.experiment(preset, experiment_tags(preset, self.context))

    def sync(self, run: RunDirectory, *, running: bool = False) -> Change:
        """Bring MLflow's copy of a run up to date.

        Args:
            run: The run; its experiment in MLflow is named after its preset.
            running: The run is being trained, possibly on another machine.

        Returns:
            What had to be done.

        Raises:
            Unsendable: One of the run's own files is damaged.
        """
        spec = spec_of(run)
        with reading(run.metrics_file):
            lines = read_json_lines(run.metrics_file)
            start = milliseconds(lines[0]["time"]) if lines else None
            last = milliseconds(lines[-1]["time"]) if lines else None
        with reading(system_file(run)):
            samples = [line for line in read_json_lines(system_file(run)) if _since(lines, line)]
        result = run.result()
        annotations = None if result is None else annotations_of(run, spec, self.workspace)
        state = run_state(run, done=result is not None, running=running)
        place = self.context.of_run(run.run_id, spec)
        tags = {**tags_of(run, spec, state), **place.tags}
        if lines:
            tags["suite.started"] = lines[0]["time"]
        with sending(run.path), self._store.forgetting_on_error():
            experiment = self.experiment(spec["preset"])
            if place.trials:
                tags["mlflow.parentRunId"] = self._study(place.trials[0][0], experiment)[0].id
            known, change = self._find(run.run_id, tags.get("suite.started"))
            content = [result, len(lines), len(samples), str(annotations), tags]
            digest = digest_of(json.dumps(content, sort_keys=True).encode())
            if known is not None and known.tags.get("suite.digest") == digest:
                return "unchanged"
            slices = {} if annotations is None else headline_slices(run, annotations)
            with reading(run.result_file):
                points = [] if result is None else list(result_points(result, slices))
                end = last if result is None else milliseconds(result["finished"])
            if known is None:
                known = self._store.create(experiment, run.run_id, asked(spec).name, start, tags)
            self._send_new(known, "suite.lines", run.metrics_file, lines, curve_points)
            self._send_new(known, "suite.samples", system_file(run), samples, system_points)
            sent = {
                **self._store.log_dataset(known, spec["dataset"]),
                **self._store.log_files(known, [run.config_file, run.environment_file]),
            }
            self._store.finish(known, STATUSES[state], end)
            # The digest goes last: anything cut short is sent again.
            self._store.log(known, points, params_of(spec), {**tags, **sent, "suite.digest": digest})
        return change

    def sync_study(self, study: TrackedStudy) -> Change:
        """Bring MLflow's copy of a study up to date; its trials are runs, synced each on its own.

        Raises:
            Unsendable: One of the study's own files is damaged.
        """
        with sending(study.folder), self._store.forgetting_on_error():
            return self._study(study, self.experiment(study.about["preset"]))[1]

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
        tags = {
            "suite.kind": "report",
            "suite.preset": preset,
            "suite.report": folder.name,
            "mlflow.note.content": "The rendered tables and figures, under Artifacts. `index.html` is the "
            "whole page, `<table>/table.csv` a table, `<figure>/figure.png` a figure.",
        }
        with self._store.forgetting_on_error():
            experiment = self.experiment(preset)
            known, change = self._find(key)
            if known is None:
                known = self._store.create(experiment, key, f"report {folder.name}", None, tags)
            if known.tags.get("suite.digest") == digest:
                return "unchanged"
            for file in files:
                parent = file.parent.relative_to(folder).as_posix()
                self._store.client.log_artifact(known.id, str(file), None if parent == "." else parent)
            self._store.finish(known, "FINISHED", None)
            self._store.log(known, tags={**tags, "suite.digest": digest})
        return change

    def _find(self, key: str, started: str | None = None) -> tuple[Mirrored | None, Change]:
        """What the store holds under a key; a run that was trained anew from its first step is deleted."""
        known = self._store.known(key)
        if (
            known is not None
            and started is not None
            and known.tags.get("suite.started") not in (None, started)
        ):
            self._store.delete(key)  # keep no old curves
            known = None
        return known, "created" if known is None else "updated"

    def _send_new(
        self,
        known: Mirrored,
        tag: str,
        file: Path,
        lines: list[dict[str, Any]],
        points: Callable[[dict[str, Any]], Iterator[Point]],
    ) -> None:
        """Send the lines of a run's file that MLflow does not have.

        The tag keeps their number and the last one's time. A file that has another line in that place went
        back to a checkpoint, and is sent whole: MLflow keeps equal points once.
        """
        sent, _, last = known.tags.get(tag, "0@").partition("@")
        first = int(sent)
        with reading(file):
            if first and (first > len(lines) or lines[first - 1]["time"] != last):
                first = 0
            new = [(line["time"], list(points(line))) for line in lines[first:]]
        batch: list[Point] = []
        for count, (time, found) in enumerate(new, start=first + 1):
            batch += found
            if len(batch) >= POINTS_PER_BATCH or count == len(lines):
                self._store.log(known, batch, tags={tag: f"{count}@{time}"})
                batch = []

    def _study(self, study: TrackedStudy, experiment: str) -> tuple[Mirrored, Change]:
        """The study's own MLflow run, up to date."""
        tags = {
            "suite.kind": "study",
            "suite.study": study.about["name"],
            "suite.preset": study.about["preset"],
            "suite.method": str(study.about.get("method", "")),
        }
        known, change = self._find(study.key)
        if known is None:
            known = self._store.create(experiment, study.key, f"study {study.about['name']}", None, tags)
        digest = digest_of(json.dumps([study.about, study.trials, tags], sort_keys=True).encode())
        if known.tags.get("suite.digest") == digest:
            return known, "unchanged"
        with reading(study.folder / "study.json"):
            params = study.params()
        with reading(study.folder / "trials.json"):
            points = list(study.points())
        self._store.log_points(known, points)
        files = [study.folder / name for name in ("study.json", "trials.json", "best.yaml")]
        sent = self._store.log_files(known, files)
        self._store.finish(known, "RUNNING" if study.is_running else "FINISHED", None)
        self._store.log(known, params=params, tags={**tags, **sent, "suite.digest": digest})
        return known, change


def _since(lines: list[dict[str, Any]], sample: dict[str, Any]) -> bool:
    """Whether a sample is of the training that wrote these lines, not of one before it; all times are UTC."""
    return bool(lines) and sample["time"] >= lines[0]["time"]
