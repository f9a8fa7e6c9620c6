"""``environment.json``: the software and hardware that trained and evaluated a run, and where runs differ.

Versions are no part of a run's identity (:mod:`suite.runs.identity`), so a table may hold runs of several.
The plan says where a complete run's versions are not those installed here; the report says where the rows of
one table were not computed alike.
"""

import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from suite.errors import SuiteError
from suite.files import read_json, write_json
from suite.runs.directory import RunDirectory

COMPUTES = {
    "torch": "torch", "onedl-mmengine": "mmengine", "onedl-mmcv": "mmcv", "onedl-mmdetection": "mmdet",
    "numpy": "numpy", "opencv-python-headless": "OpenCV",
}  # fmt: skip
"""Package -> its name for people: what a run's numbers are computed with."""

Environment = Mapping[str, Any]
"""What :func:`suite.training.environment.environment` tells of a machine at one time."""


@functools.cache
def installed(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_environments(run: RunDirectory) -> dict[str, Any]:
    """``training``: a list, one per change while the run trained; ``evaluation``; and ``dataset``.

    A file that is missing or damaged has neither: it empties no number.
    """
    try:
        content = read_json(run.environment_file)
    except SuiteError:
        content = {}
    known = content if isinstance(content, dict) and isinstance(content.get("training"), list) else {}
    return {"training": [], "evaluation": {}, "dataset": {}, **known}


def record_training(run: RunDirectory, now: Environment, dataset: Mapping[str, Any], epoch: int) -> None:
    """Note that the run is trained from ``epoch`` on (from 0) as ``now`` says.

    Raises:
        SuiteError: The file cannot be written.
    """
    known = read_environments(run)
    before = known["training"] if epoch else []
    if not before or _without_epoch(before[-1]) != dict(now):
        before = [*before, {"from_epoch": epoch, **now}]
    write_json(run.environment_file, {**known, "training": before, "dataset": dict(dataset)})


def record_evaluation(run: RunDirectory, now: Environment, dataset: Mapping[str, Any]) -> None:
    """Note that the run is evaluated as ``now`` says.

    Raises:
        SuiteError: The file cannot be written.
    """
    write_json(
        run.environment_file, {**read_environments(run), "evaluation": dict(now), "dataset": dict(dataset)}
    )


def _without_epoch(one: Environment) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key != "from_epoch"}


def differences(run: RunDirectory) -> list[str]:
    """Where a run was trained or evaluated with other versions than those installed here, for the plan."""
    found = read_environments(run)
    phrases = []
    for verb, records in (("trained", found["training"]), ("evaluated", [found["evaluation"]])):
        other = {
            f"{name} {used} (here {here})"
            for one in records
            for package, name in COMPUTES.items()
            if (used := (one.get("packages") or {}).get(package)) and (here := installed(package)) != used
        }
        if other:
            phrases.append(f"{verb} with {', '.join(sorted(other))}")
    return phrases


def computed_with(run: RunDirectory) -> dict[str, tuple[str, ...]]:
    """Software and hardware that can change a run's numbers: name -> the values that it had, in order.

    ``CUDA`` and ``GPU`` are empty for a run on CPUs; of a CPU only that it was one is told.
    """
    found = read_environments(run)
    values: dict[str, dict[str, None]] = {}
    for one in (*found["training"], found["evaluation"]):
        if not one:
            continue
        packages, hardware = one.get("packages") or {}, one.get("hardware") or {}
        gpus = sorted(set(hardware.get("gpus") or ()))
        told = {name: packages.get(package) for package, name in COMPUTES.items()}
        told |= {"CUDA": one.get("cuda"), "GPU": " and ".join(gpus) or "none"}
        for name, value in told.items():
            if value:
                values.setdefault(name, {})[str(value)] = None
    return {name: tuple(kept) for name, kept in values.items()}


def mixes(rows: Mapping[str, Sequence[RunDirectory]]) -> list[str]:
    """Where the runs of a table's rows were not computed alike: one sentence per package or device.

    Args:
        rows: Label of a row -> its complete runs.
    """
    used: dict[str, dict[str, dict[str, None]]] = {}
    for label, runs in rows.items():
        for run in runs:
            for name, values in computed_with(run).items():
                for value in values:
                    used.setdefault(name, {}).setdefault(value, {})[label] = None
    return [
        f"Not all rows were computed with one {name}: "
        + "; ".join(f"{value}: {', '.join(labels)}" for value, labels in sorted(by_value.items()))
        + "."
        for name, by_value in used.items()
        if len(by_value) > 1
    ]
