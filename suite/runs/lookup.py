"""The run that a command names."""

from pathlib import Path

from suite.errors import SuiteError, nearest
from suite.runs.directory import RunDirectory
from suite.workspace import Workspace


def find_run(name: str, workspace: Workspace) -> RunDirectory:
    """The run with this id, or in this directory.

    Raises:
        SuiteError: There is none.
    """
    for path in (workspace.runs / name, Path(name)):
        if (path / "spec.json").is_file():
            return RunDirectory(path)
    known = sorted(path.parent.name for path in workspace.runs.glob("*/spec.json"))
    raise SuiteError(
        f"run {name!r}: neither a run of {workspace.runs}/ nor a run's directory.{nearest(name, known)}",
        "`suite plan` lists the runs; their folders are in runs/.",
    )
