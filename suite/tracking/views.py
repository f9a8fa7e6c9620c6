"""What MLflow's pages show of an experiment before anybody configures them: a description, saved views.

MLflow keeps the columns that a person chooses in the browser, and the views that are saved for everybody in
tags of the experiment, one per view. The mirror writes such tags: the page's menu "Views" lists them, and an
address opens one by its key (:func:`view_address`).
"""

import json
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from suite.experiments.schema import Experiment
from suite.tracking.context import WorkspaceContext

COLUMNS = (
    "AP", "AP50", "AP75", "APS", "APM", "APL", "AR100", "AP_dense", "AP_31_objects", "NR", "step_seconds",
    "memory_mb", "train_hours",
)  # fmt: skip
"""Metrics of a finished run in the order of the table's columns."""

RESULTS = "results"
"""Key of the view that ``suite ui`` opens."""

_WIDTHS = {"attributes.`Run Name`": 250, "runDateAndNestInfo": 145, "duration": 80}
"""The columns that MLflow always has, in its order -> pixels."""

STUDIES = "studies"
REPORT = "report"


def view_address(url: str, experiment: str, key: str = RESULTS) -> str:
    """Address of a view of an experiment.

    Args:
        url: Address of the MLflow server.
        experiment: Id of the experiment.
        key: Key of the view; an experiment of the suite, such as ``ltm.table2``, has one under its id.
    """
    query = f"workflowType=machine_learning&viewStateShareKey={quote(key)}"
    return f"{url.rstrip('/')}/#/experiments/{experiment}/runs?{query}"


def row_filter(experiment: str, row: str | None = None) -> str:
    """MLflow's filter for the runs of a table or figure, or of one of its rows."""
    wanted = f"{experiment}: " if row is None else f"{experiment}: {row};"
    return f"tags.`suite.row` LIKE '%{wanted}%'"


def experiment_tags(preset: str, context: WorkspaceContext) -> dict[str, str]:
    """Tags of a preset's experiment in MLflow: kind, description and views.

    Args:
        preset: Name of the preset.
        context: Knows which of the suite's experiments have runs at the preset, and the studies.
    """
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": _description(preset),
        **dict(_views(context.used(preset), any(s.about["preset"] == preset for s in context.studies))),
    }


def _views(experiments: Sequence[Experiment], studies: bool) -> Iterator[tuple[str, str]]:
    metrics = [f"metrics.`{name}`" for name in COLUMNS]
    yield _view(RESULTS, "Results", "tags.`suite.kind` = 'run'", metrics)
    yield _view(REPORT, "Report: the rendered tables and figures", "tags.`suite.kind` = 'report'", [])
    if studies:
        columns = [f"tags.`suite.{name}`" for name in ("study", "trial", "trial_state")]
        yield _view(STUDIES, "Studies", "tags.`suite.study` LIKE '%'", [*columns, *metrics])
    for experiment in experiments:
        name = f"{experiment.id}: {experiment.title}"
        yield _view(experiment.id, name, row_filter(experiment.id), [*metrics, "tags.`suite.row`"])


def _view(key: str, name: str, search: str, columns: Sequence[str]) -> tuple[str, str]:
    """A saved view as MLflow's pages store it: the tag, and an envelope around the state of the page."""
    names = {column: column.partition(".")[2].strip("`") for column in columns}
    widths = {**_WIDTHS, **{column: max(66, 24 + 8 * len(name)) for column, name in names.items()}}
    state = {
        "searchFilter": search,
        "selectedColumns": columns,
        "columnOrder": [*_WIDTHS, *columns],
        "columnWidths": widths,  # the heading has to fit
    }
    envelope = {"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
    return f"mlflow.sharedViewState.{key}", json.dumps(envelope)


def _description(preset: str) -> str:
    return (
        f"Runs at preset `{preset}`, mirrored from `runs/`. AP, AR and NR are in percent; `AP_dense` is AP "
        "on images with crowdedness of at least 0.5, `AP_31_objects` on images with 31 objects or more. The "
        "menu **Views** has one view per table or figure. Tags to filter by: `suite.method`, `suite.seed`, "
        "`suite.experiment`, `suite.row`, `suite.git_commit`, `suite.kind` (run, trial, study, report, or "
        "replaced: a newer run was asked for the same), as in "
        "``tags.`suite.method` = 'ltm' AND tags.`suite.seed` = '0'``."
    )
