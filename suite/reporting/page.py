"""One self-contained page about a preset: what was run, on what, every item beside its published numbers."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.evaluation.coco_ap import Evaluation
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.slices import image_slices, objects_by_size
from suite.files import read_json
from suite.reporting.inputs import ReportInput
from suite.reporting.items import Item
from suite.reporting.published import Published
from suite.reporting.tables import Table, agreement_remarks, fit_text, layout, remarks
from suite.runs import RunDirectory

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """An item as the page shows it.

    Attributes:
        item: The measured item.
        source: Paper, table or figure number, and venue.
        table: Laid out for reading.
        fits: Lines of a scatter figure, in words.
        remarks: What to know beside the numbers.
        verdict: How the gains compare with the paper's, in a sentence or two.
        picture: The figure as a data URI, or None.
        files: Names of the files in the item's folder.
    """

    item: Item
    source: str
    table: Table
    fits: list[str]
    remarks: list[str]
    verdict: str
    picture: str | None
    files: list[str]


def section(item: Item, files: Mapping[str, str | bytes], published: Published, comparable: bool) -> Section:
    """Collect what the page shows of an item whose ``files`` were rendered."""
    picture = files.get("figure.svg")
    uri = None
    if isinstance(picture, bytes):
        uri = "data:image/svg+xml;base64," + base64.b64encode(picture).decode()
    source = "no published counterpart"
    if item.entry is not None:
        paper = published.papers[item.entry.paper]
        source = f"{item.entry.kind.capitalize()} {item.entry.number} of {paper.title} ({paper.venue})"
    fits = [fit_text(item, index) for index in range(len(item.fits))]
    notes, verdict = remarks(item, comparable), " ".join(agreement_remarks(item))
    return Section(item, source, layout(item), fits, notes, verdict, uri, sorted(files))


def comparability(report: ReportInput) -> str:
    """Plain statement of what may and may not be compared with the papers."""
    if report.comparable:
        return (
            "The runs follow the papers' schedule on COCO 2017 and are evaluated on val2017. Levels may be "
            "compared: a difference of at most 0.3 AP to the published number counts as reproduced, of at "
            "most 0.6 as close. Where a paper evaluates on test-dev, val2017 stands in for it."
        )
    what = "generated images" if report.dataset.kind == "shapes" else "another dataset or a smaller scale"
    return (
        f"This report's preset, {report.preset}, trains and evaluates on {what}: the levels of AP, NMS "
        "recall and training time are not comparable with the papers', which report COCO. What can be "
        "compared is the sign of each gain over the baseline and the order of the methods; published numbers "
        "stand beside ours for that."
    )


def facts(
    report: ReportInput, items: Sequence[Item], truth: GroundTruth, evaluator: Evaluation | None
) -> dict[str, str]:
    """What was run, on what hardware and data: label -> text."""
    runs = _finished(report)
    environments = [_environment(run) for run in runs.values()]
    total = {run.run_id for given in report.experiments for row in given.runs.values() for run in row}
    sizes = ", ".join(f"{count} {name}" for name, count in objects_by_size(truth).items())
    crowds = ", ".join(f"{len(ids)} {name}" for name, ids in image_slices(truth, "crowdedness").items())
    data = report.dataset
    names = ", ".join(data.categories[:12]) + (", ..." if len(data.categories) > 12 else "")
    found = {
        "Preset": report.preset,
        "Runs": f"{len(runs)} of {len(total)} finished, for {len(items)} tables and figures",
        "Dataset": f"{data.name} ({data.kind}), {len(data.categories)} categories: {names}",
        "Training split": f"{data.train.n_images} images",
        "Evaluated split": f"{len(truth.images)} images, {len(truth.objects)} objects ({sizes}); images by "
        f"crowdedness: {crowds}",
        "Annotations": f"SHA-256 {truth.fingerprint[:12]}",
        "Hardware": "; ".join(sorted({_hardware(one) for one in environments})) or "no finished run",
    }
    versions = {key: _version(environments, key) for key in ("torch", "onedl-mmdetection", "onedl-mmcv")}
    software = [f"{key} {value}" for key, value in versions.items() if value]
    if evaluator is not None:
        software.append(f"AP by {evaluator.evaluator} {evaluator.version}")
    if software:
        found["Software"] = ", ".join(software)
    if report.commit:
        found["Commit"] = report.commit
    return found


def _finished(report: ReportInput) -> dict[str, RunDirectory]:
    return {
        run.run_id: run.directory
        for given in report.experiments
        for row in given.runs.values()
        for run in row
        if run.directory is not None
    }


def _environment(run: RunDirectory) -> dict[str, Any]:
    """What the worker wrote about its machine; empty where the file is missing, which empties no number."""
    try:
        content = read_json(run.environment_file)
    except SuiteError:
        return {}
    return content if isinstance(content, dict) else {}


def _hardware(environment: Mapping[str, Any]) -> str:
    hardware = environment.get("hardware")
    if not isinstance(hardware, dict):
        return "not recorded"
    gpus = hardware.get("gpus") or []
    text = f"{hardware.get('cpu', 'unknown CPU')}, {hardware.get('cores', '?')} cores"
    return text + (f", {len(gpus)} x {gpus[0]}" if gpus else ", no GPU")


def _version(environments: Sequence[Mapping[str, Any]], package: str) -> str:
    found = {str(one["packages"][package]) for one in environments if package in (one.get("packages") or {})}
    return " and ".join(sorted(found))


@lru_cache(maxsize=2)
def _template(name: str) -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def html(report: ReportInput, sections: Sequence[Section], about: Mapping[str, str]) -> str:
    """``index.html``: images inside, no outside resources."""
    return _template("index.html.j2").render(
        report=report, sections=sections, about=about, comparability=comparability(report)
    )


def readme(report: ReportInput, sections: Sequence[Section], about: Mapping[str, str]) -> str:
    """``README.md``: the same in short, for a repository's browser."""
    return _template("README.md.j2").render(
        report=report, sections=sections, about=about, comparability=comparability(report)
    )
