"""Checkpoints that others trained and that were evaluated here (``suite adopt``), for the report's page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.evaluation.report import percent
from suite.runs.directory import RunDirectory

METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL")


@dataclass(frozen=True)
class Adopted:
    """A checkpoint and its numbers.

    Attributes:
        label: What it is called.
        about: Method, options and changes of its config, in words.
        numbers: :data:`METRICS` in percent, as text.
        source: Where it comes from, or empty.
        file: The checkpoint's name.
        sha256: Its checksum.
        run_id: The run's name.
    """

    label: str
    about: str
    numbers: Sequence[str]
    source: str
    file: str
    sha256: str
    run_id: str


def adopted_runs(runs: Path, preset: str, dataset: Dataset) -> list[Adopted]:
    """Every complete adopted run of a preset on a dataset as it is now, by label.

    Args:
        runs: Folder of the run directories; need not exist.
        preset: Name of the preset.
        dataset: What they were evaluated on.
    """
    found = []
    for path in sorted(runs.glob("*-adopted-*/spec.json")):
        run = RunDirectory(path.parent)
        try:
            spec, result = run.spec(), run.result()
            if result is None or spec["preset"] != preset or not run.is_complete():
                continue
            if spec["identity"]["data"]["validation"] != dataset.val.fingerprint:
                continue
            about = spec["adopted"]
            settings = {**about["options"], **about["changes"]}
            changed = "".join(f", {name}={value}" for name, value in settings.items())
            found.append(
                Adopted(
                    about["label"],
                    f"{spec['method']}{changed}",
                    [percent(result["metrics"][name]) for name in METRICS],
                    about["source"],
                    about["file"],
                    about["sha256"],
                    run.run_id,
                )
            )
        except (SuiteError, KeyError, TypeError, AttributeError):
            continue  # a damaged run empties no page
    return sorted(found, key=lambda one: (one.label, one.run_id))
