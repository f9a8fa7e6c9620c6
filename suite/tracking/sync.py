"""Brings MLflow up to date with the whole workspace; rebuilds a lost store."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from suite.errors import SuiteError
from suite.tracking.contents import started_runs
from suite.tracking.context import WorkspaceContext
from suite.tracking.damage import Unsendable
from suite.tracking.mlflow_mirror import Change, Mirror
from suite.tracking.store import short_reason
from suite.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class SyncCounts:
    """What a sync of the whole workspace did.

    Attributes:
        created: Runs, studies and reports that MLflow did not have.
        updated: Those that it had in an older state.
        unchanged: Those that it had already.
        skipped: One line for each run and study left out because one of its files is damaged.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: list[str] = field(default_factory=list)

    def count(self, change: Change) -> None:
        """Add one."""
        setattr(self, change, getattr(self, change) + 1)


def sync_all(
    workspace: Workspace, console: "Console | None" = None, mirror: Mirror | None = None
) -> SyncCounts:
    """Bring MLflow up to date with every run that was ever started, every study and every report.

    May be interrupted at any moment: the next one goes on.

    Args:
        workspace: Where runs and reports are.
        console: Where to print what was done, if anywhere.
        mirror: The mirror to use; by default a new one that knows the place of every run.

    Raises:
        SuiteError: The store cannot be reached, or an experiment's file is malformed.
    """
    mirror = mirror or Mirror(workspace, context=WorkspaceContext.of(workspace))
    counts = SyncCounts()
    runs = started_runs(workspace)
    try:
        for study in mirror.context.studies:
            try:
                counts.count(mirror.sync_study(study))
            except Unsendable as error:
                counts.skipped.append(error.message)
        for run in (run for preset in runs.values() for run in preset):
            try:
                counts.count(mirror.sync(run))
            except Unsendable as error:
                counts.skipped.append(error.message)
        for folder in sorted(path for path in workspace.reports.glob("*") if path.is_dir()):
            # reports/mini-<dataset> is a report of preset mini on another dataset
            owners = [preset for preset in runs if preset and f"{folder.name}-".startswith(f"{preset}-")]
            if owners:
                counts.count(mirror.sync_report(folder, max(owners, key=len)))
    except Exception as error:
        raise SuiteError(
            f"MLflow at {mirror.uri}: {short_reason(error)}",
            "Mend that, or unset MLFLOW_TRACKING_URI to use mlflow.db here; then run this again.",
        ) from error
    if console is not None:
        console.print(
            f"MLflow at {mirror.uri}: {counts.created} runs, studies and reports added, {counts.updated} "
            f"updated, {counts.unchanged} unchanged, {len(counts.skipped)} left out.",
            *counts.skipped,
            sep="\n  ",
            markup=False,
            highlight=False,
        )
    return counts
