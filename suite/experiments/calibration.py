"""``data/calibration.json``: what a few real steps of each work took, on each machine that was calibrated."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.experiments.costs import CALIBRATED, Pace, is_this_machine
from suite.files import read_json, write_json
from suite.workspace import Workspace


def calibration_file(workspace: Workspace) -> Path:
    """The file's place."""
    return workspace.data / "calibration.json"


def read_paces(workspace: Workspace) -> dict[str, Pace]:
    """Name of a work -> its pace, of those measured on a machine like this one with the same versions.

    Raises:
        SuiteError: The file is damaged.
    """
    return {name: pace for name, (pace, _) in read_measurements(workspace).items()}


def read_measurements(workspace: Workspace) -> dict[str, tuple[Pace, float]]:
    """Name of a work -> its pace and peak memory in MiB, as :func:`read_paces`.

    Raises:
        SuiteError: The file is damaged.
    """
    found = {}
    for entry in _entries(workspace):
        try:
            if is_this_machine(entry["environment"], entry["gpu"]):
                found[entry["work"]] = Pace(**entry["pace"], source=CALIBRATED), entry["peak_memory_mb"]
        except (KeyError, TypeError, AttributeError) as error:
            raise _damaged(calibration_file(workspace)) from error
    return found


def record(
    workspace: Workspace,
    work: str,
    pace: Pace,
    peak_memory_mb: float,
    environment: Mapping[str, Any],
    gpu: bool,
) -> None:
    """Note what a work took, in place of what was known of it for such a machine.

    Raises:
        SuiteError: The file is damaged or cannot be written.
    """
    numbers = {key: round(value, 6) for key, value in asdict(pace).items() if key != "source"}
    kept = [
        entry
        for entry in _entries(workspace)
        if entry["work"] != work or not is_this_machine(entry["environment"], gpu)
    ]
    entry = {
        "work": work, "gpu": gpu, "pace": numbers, "peak_memory_mb": round(peak_memory_mb, 1),
        "environment": {key: environment[key] for key in ("packages", "hardware")},
    }  # fmt: skip
    write_json(calibration_file(workspace), [*kept, entry])


def _entries(workspace: Workspace) -> list[dict[str, Any]]:
    file = calibration_file(workspace)
    if not file.exists():
        return []
    content = read_json(file)
    if not isinstance(content, list):
        raise _damaged(file)
    return content


def _damaged(file: Path) -> SuiteError:
    return SuiteError(f"{file}: not what `suite calibrate` writes.", "Delete it and calibrate again.")
