"""COCO test-dev: what was sent to the evaluation server of a run, and what the server answered.

The annotations of test-dev are not public. A run's detections on its images are sent to the server as a
results file (``suite export --test-dev``), whose numbers come back as text or JSON (``suite import-result``).
"""

import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.files import read_json, sha256, write_json
from suite.runs.directory import RunDirectory

REQUIRED = ("AP", "AP50", "AP75", "APS", "APM", "APL")
MAX_PER_IMAGE = 100
"""Detections of an image that the server counts."""
FEWER = "Export a run that keeps no more detections of an image (max_per_img of its model's test_cfg)."
PARTS = ("evaluated", "checkpoint_sha256", "annotations_sha256")
"""What an export is made of: :func:`evaluated` of its run, its checkpoint, and test-dev's image info."""

_NAMES = {
    "ap": "AP", "ap50": "AP50", "ap5": "AP50", "ap05": "AP50", "ap75": "AP75", "ap075": "AP75",
    "aps": "APS", "apsmall": "APS", "apm": "APM", "apmedium": "APM", "apl": "APL", "aplarge": "APL",
    "ar1": "AR1", "armax1": "AR1", "ar10": "AR10", "armax10": "AR10", "ar100": "AR100", "armax100": "AR100",
    "ars": "ARS", "arsmall": "ARS", "arm": "ARM", "armedium": "ARM", "arl": "ARL", "arlarge": "ARL",
}  # fmt: skip
"""How servers and scripts write the metrics, without case and punctuation -> our name."""

_PRINTED = re.compile(
    r"Average (?P<kind>Precision|Recall) +\((?:AP|AR)\) +@\[ *IoU=(?P<iou>[\d.]+(?::[\d.]+)?) *\| *"
    r"area= *(?P<area>\w+) *\| *maxDets= *(?P<most>\d+) *\] *= *(?P<value>-?[\d.]+)"
)
_NAMED = re.compile(
    r"^\s*[\"']?(?P<name>A[PR][\w.@ ]*?)[\"']?\s*[:=]\s*(?P<value>-?\d[\d.eE+-]*)\s*,?\s*$", re.M
)
_RESULTS_FILE = re.compile(r"detections_test-dev2017_(?P<name>[\w.-]+?)_results")


@dataclass(frozen=True)
class ServerResult:
    """What the server answered for a run.

    Attributes:
        metrics: Metric -> number in [0, 1].
        source: Server, date, and the start of the hash of the file that its numbers were read from.
    """

    metrics: dict[str, float]
    source: str


def export_directory(run: RunDirectory) -> RunDirectory:
    """Where a run's export is made; it has a log, a failure and a result like a run."""
    return RunDirectory(run.path / "test_dev")


def results_name(run: RunDirectory) -> str:
    """Name of the results file, without its ending, as the server asks for it."""
    return f"detections_test-dev2017_{run.run_id}_results"


def zip_file(run: RunDirectory) -> Path:
    """The zipped results file of a run's export."""
    return export_directory(run).path / f"{results_name(run)}.zip"


def server_file(run: RunDirectory) -> Path:
    """Where the server's numbers are kept."""
    return run.path / "test_dev.json"


def evaluated(run: RunDirectory) -> str:
    """SHA-256 of the detections of the run's own evaluation: another one after it was trained or tested anew.

    Raises:
        SuiteError: The run is not finished.
    """
    result = run.result()
    if result is None:
        raise SuiteError(
            f"{run.path}: the run is not finished ({run.result_problem()}).",
            "Finish it first: `suite plan` names the runs and their states, `suite run` trains them.",
        )
    return str(result["files"][run.detections_file.name]["sha256"])


def parse_numbers(text: str, name: str) -> dict[str, float]:
    """The server's numbers: COCO's printed summary, lines like ``AP_50: 0.58``, or JSON with such names.

    Args:
        text: What the server gave.
        name: The file's name, for messages.

    Returns:
        Metric -> number in [0, 1]; numbers up to 100 are taken as percent.

    Raises:
        SuiteError: A metric is missing, given twice with different numbers or out of range, or AP50 is below
            AP.
    """
    found: dict[str, float] = {}
    for metric, value in _numbers(text):
        if metric in found and found[metric] != value:
            raise SuiteError(f"{name}: {metric} is given twice, as {found[metric]:g} and {value:g}.", _GIVE)
        found[metric] = value
    if missing := [metric for metric in REQUIRED if metric not in found]:
        raise SuiteError(
            f"{name}: {', '.join(missing)} missing; found {', '.join(found) or 'no metric'}.", _GIVE
        )
    if bad := [f"{metric} = {value:g}" for metric, value in found.items() if not 0 <= value <= 100]:
        raise SuiteError(
            f"{name}: {', '.join(bad)}: expected numbers from 0 to 1, or from 0 to 100.",
            "-1 means that there were no annotations to evaluate with: take the numbers of test-dev.",
        )
    if max(found.values()) > 1:
        found = {metric: value / 100 for metric, value in found.items()}
    for metric in ("AP", "AP75"):
        if found["AP50"] < found[metric]:
            raise SuiteError(
                f"{name}: AP50 = {found['AP50']:g} is below {metric} = {found[metric]:g}, which cannot be.",
                _GIVE,
            )
    return found


_GIVE = (
    "Give the server's output as it is: its printed summary, its scores, or JSON with AP, AP50, AP75, APS, "
    "APM and APL."
)


def _numbers(text: str) -> Iterator[tuple[str, float]]:
    try:
        yield from _named_in(json.loads(text))
        return
    except ValueError:
        pass
    for match in _PRINTED.finditer(text):
        metric = _printed_name(match)
        if metric is not None:
            yield metric, float(match["value"])
    for match in _NAMED.finditer(text):
        metric = _our_name(match["name"])
        if metric is not None:
            yield metric, float(match["value"])


def _named_in(content: Any) -> Iterator[tuple[str, float]]:
    """Metrics anywhere in a JSON value."""
    for key, value in content.items() if isinstance(content, dict) else ():
        metric = _our_name(key)
        if metric is not None and isinstance(value, int | float) and not isinstance(value, bool):
            yield metric, float(value)
    for value in (
        content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    ):
        yield from _named_in(value)


def _our_name(name: str) -> str | None:
    return _NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def _printed_name(match: re.Match[str]) -> str | None:
    size = {"all": "", "small": "S", "medium": "M", "large": "L"}.get(match["area"])
    if size is None:
        return None
    if match["kind"] == "Recall":
        return f"AR{size or match['most']}"
    threshold = {"0.50:0.95": "", "0.50": "50", "0.75": "75"}.get(match["iou"])
    return None if threshold is None else f"AP{threshold}{size}"


def import_result(
    run: RunDirectory, file: Path, submission: Path | None, server: str, date: datetime.date
) -> dict[str, float]:
    """Take the server's numbers into the run's directory, where the report finds them.

    Args:
        run: A finished run that was exported.
        file: What the server gave.
        submission: The results file that was sent; by default the run's own export.
        server: Name of the server.
        date: When it evaluated.

    Returns:
        The numbers, in [0, 1].

    Raises:
        SuiteError: The run is not finished or not exported, the submission or the result is another run's, or
            the file is no server's result, see :func:`parse_numbers`.
    """
    detections = evaluated(run)
    export = _export_of(run)
    if export["evaluated"] != detections:
        raise SuiteError(
            f"{run.path}: the run was trained or evaluated anew after it was exported.",
            f"Export it again and send that: suite export --test-dev {run.run_id}.",
        )
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{file}: cannot read the server's result ({error}).", _GIVE) from error
    metrics = parse_numbers(text, str(file))
    _refuse_others(run, export, file, text, submission or zip_file(run))
    write_json(
        server_file(run),
        {
            "run_id": run.run_id,
            "metrics": metrics,
            "server": server,
            "date": date.isoformat(),
            "file": file.name,
            "sha256": sha256(file),
            "submission_sha256": export["files"][zip_file(run).name]["sha256"],
            "evaluated": detections,
        },
    )
    return metrics


def _export_of(run: RunDirectory) -> dict[str, Any]:
    """The record of a run's export."""
    export = export_directory(run).result()
    if export is None:
        raise SuiteError(
            f"{run.path}: nothing of this run was exported for the server.",
            f"Make the file that is sent to it first: suite export --test-dev {run.run_id}.",
        )
    return export


def _refuse_others(
    run: RunDirectory, export: dict[str, Any], file: Path, text: str, submission: Path
) -> None:
    """Refuse a submission or a result that belongs to another run."""
    named = {match["name"] for match in _RESULTS_FILE.finditer(text)}
    if named - {run.run_id}:
        raise SuiteError(
            f"{file}: it is the result of {', '.join(sorted(named))}, not of {run.run_id}.", _RIGHT_RUN
        )
    if not submission.is_file():
        raise SuiteError(f"{submission}: the submitted file is missing.", "Name it with --submission.")
    digest = sha256(submission)
    if digest not in _digests(export):
        others = [other.run_id for other, found in _other_exports(run) if digest in _digests(found)]
        whose = f"the export of {others[0]}" if others else "no export of this run"
        raise SuiteError(
            f"{submission}: it is {whose} (SHA-256 {digest[:12]}), not of {run.run_id}.", _RIGHT_RUN
        )
    taken = sha256(file)
    for other, _ in _other_exports(run):
        if server_file(other).exists() and read_json(server_file(other)).get("sha256") == taken:
            raise SuiteError(
                f"{file}: these numbers were imported as the result of {other.run_id}.", _RIGHT_RUN
            )


_RIGHT_RUN = "Name the run whose file was sent, or that run's result."


def _digests(export: dict[str, Any]) -> set[str]:
    """SHA-256 of the zipped results file and of the file in it."""
    return {export["results_sha256"], *(one["sha256"] for one in export["files"].values())}


def _other_exports(run: RunDirectory) -> Iterator[tuple[RunDirectory, dict[str, Any]]]:
    for path in sorted(run.path.resolve().parent.iterdir()):
        if path.is_dir() and path != run.path.resolve():
            other = RunDirectory(path)
            export = export_directory(other).result()
            if export is not None:
                yield other, export


def read_server_result(run: RunDirectory) -> ServerResult | None:
    """What the server answered for a run, or None where nothing was imported.

    Raises:
        SuiteError: The file is damaged, or of an earlier training or evaluation of the run.
    """
    path = server_file(run)
    if not path.exists():
        return None
    content = read_json(path)
    try:
        metrics = {str(name): float(value) for name, value in content["metrics"].items()}
        source = (
            f"{content['server']}, {content['date']}, {content['file']} (SHA-256 {content['sha256'][:12]})"
        )
        current = content["evaluated"] == evaluated(run) and set(REQUIRED) <= set(metrics)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SuiteError(
            f"{path}: damaged.", f"Import it again: suite import-result {run.run_id}."
        ) from error
    if not current:
        raise SuiteError(
            f"{path}: the run was trained or evaluated anew since.",
            f"Export and submit it again: suite export --test-dev {run.run_id}.",
        )
    return ServerResult(metrics, source)
