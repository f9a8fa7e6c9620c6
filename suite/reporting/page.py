"""The pages over all items of a preset: ``index.html`` and ``README.md``, made from the items' files."""

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.slices import image_slices, objects_by_size
from suite.evaluation.uncertainty import THRESHOLDS
from suite.experiments.schema import Experiment
from suite.files import read_json
from suite.reporting import curves, forest
from suite.reporting.adopted import METRICS
from suite.reporting.answer import Answer
from suite.reporting.claims import MeasuredClaim
from suite.reporting.document import definition, is_document, source, with_later_fields
from suite.reporting.explanation import explain
from suite.reporting.inputs import ReportInput
from suite.reporting.paper_numbers import PaperNumbers
from suite.reporting.verdicts import WORDS
from suite.runs.directory import RunDirectory
from suite.text import counted

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"
ITEM_FILE = "item.json"
_DAMAGED = "damaged"
"""Stands on the pages in place of a verdict."""


@dataclass(frozen=True)
class Section:
    """An item as the pages show it.

    Attributes:
        item: The content of its ``item.json``; what is known of an item without one, or with a damaged one.
        pictures: Name and data URI of each figure.
        files: Names of the files in the item's folder.
        outdated: Why the item has to be rendered again, or empty.
        runs_here: Names of its finished runs that are still there.
    """

    item: dict[str, Any]
    pictures: list[tuple[str, str]]
    files: list[str]
    outdated: str = ""
    runs_here: frozenset[str] = frozenset()

    @property
    def runs_gone(self) -> frozenset[str]:
        """Its finished runs that are not here: they were made on another machine, or removed since."""
        made = self.item["made"]
        runs = made["runs"] if made else {}
        return frozenset(name for name, run in runs.items() if run["state"] == "done") - self.runs_here


def sections(
    report: ReportInput, experiments: Sequence[tuple[Experiment, str]], folder: Path, papers: PaperNumbers
) -> list[Section]:
    """One section per experiment, in the order of the papers and of the numbers of their tables and figures.

    Args:
        report: The report.
        experiments: All experiments, each with the command that renders it.
        folder: ``reports/<preset>``.
        papers: The papers' numbers.
    """
    place = {identifier: index for index, identifier in enumerate(papers.entries)}
    names = list(dict.fromkeys(entry.partition(".")[0] for entry in papers.entries))

    def order(given: tuple[Experiment, str]) -> tuple[int, int, str]:
        experiment = given[0]
        paper = names.index(experiment.paper) if experiment.paper in names else len(names)
        return paper, place.get(experiment.published or experiment.id, len(place)), experiment.id

    found = []
    for experiment, command in sorted(experiments, key=order):
        if not (folder / experiment.id / ITEM_FILE).exists():
            because = "not rendered yet"
            found.append(Section(_without_item(experiment, command, papers, "not run", because), [], []))
            continue
        try:
            found.append(_read(folder / experiment.id, experiment, report))
        except SuiteError as error:
            because = f"{error.message} is damaged, render again: {command}"
            found.append(Section(_without_item(experiment, command, papers, _DAMAGED, because), [], []))
    return found


def _read(folder: Path, experiment: Experiment, report: ReportInput) -> Section:
    """An item that was rendered.

    Raises:
        SuiteError: A file of it is missing or damaged; its message is the file's name.
    """
    try:
        item = with_later_fields(read_json(folder / ITEM_FILE))
    except SuiteError as error:
        raise SuiteError(ITEM_FILE) from error
    if not is_document(item):
        raise SuiteError(ITEM_FILE)
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    pictures = [(name, _data_uri(folder / f"{name}.svg")) for name in item["figures"]]
    here = frozenset(
        name
        for name, run in item["made"]["runs"].items()
        if run["state"] == "done" and RunDirectory(report.runs / name).result_file.exists()
    )
    return Section(item, pictures, files, outdated(item, experiment, report), here)


def _data_uri(path: Path) -> str:
    try:
        return svg_uri(path.read_bytes())
    except OSError as error:
        raise SuiteError(path.name) from error


def svg_uri(svg: bytes) -> str:
    """An SVG image as a page may hold it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def outdated(item: Mapping[str, Any], experiment: Experiment, report: ReportInput) -> str:
    """Why an item has to be rendered again, or an empty text."""
    if item["definition"] != definition(experiment):
        return "the experiment's file has changed since"
    if item["made"]["dataset"]["fingerprint"] != report.dataset.fingerprint:
        return f"made on other data: {item['made']['dataset']['name']}"
    return ""


def _without_item(
    experiment: Experiment, command: str, papers: PaperNumbers, word: str, because: str
) -> dict[str, Any]:
    """What is known of an item that has no document to show."""
    return {
        "experiment": experiment.id,
        "paper": experiment.paper,
        "source": source(papers.entry_of(experiment), papers),
        "title": experiment.title,
        "question": experiment.question,
        "verdict": {"word": word, "because": because},
        "cells": [], "table": {"header": [], "text_columns": 0, "lines": [], "footnotes": []},
        "remarks": [], "audit": [], "figures": [], "command": command, "made": None,
    }  # fmt: skip


def verdict_counts(found: Sequence[Section]) -> dict[str, int]:
    """Number of items by verdict, in the order of the verdicts; words without an item are left out."""
    counts = Counter(section.item["verdict"]["word"] for section in found)
    return {word: counts[word] for word in (*WORDS, _DAMAGED) if counts[word]}


LEGEND = {
    "reproduced": "everything that the paper concludes from the table or figure is settled as published",
    "close": "most of it is settled, and most of that as published",
    "differs": "as much or more is settled otherwise",
    "inconclusive": "too little is settled to tell: more seeds or images are needed",
    "one seed": "one training of each row shows no spread, so nothing can be settled",
}
"""Verdict -> what it means, of an item with claims."""


def comparability(report: ReportInput) -> str:
    """What may and may not be compared with the papers, in words."""
    if report.comparable:
        return (
            "The runs follow the papers' schedule on COCO 2017 and are evaluated on val2017: their levels of "
            "AP may be compared with the papers'."
        )
    what = "generated images" if report.dataset.kind == "shapes" else "another dataset or at a smaller scale"
    return (
        f"Preset {report.preset} trains and evaluates on {what}: its levels of AP, NMS recall and time are "
        "not comparable with the papers', which report COCO. What the papers conclude from them is."
    )


def judging(report: ReportInput) -> list[str]:
    """How claims and items are judged, in paragraphs."""
    texts = [
        "A claim is what a paper concludes from a table or figure. It is settled, as published or not, where "
        "its interval for new seeds and new images says so; at most one report in twenty settles any claim "
        "falsely. Effects within a margin that was declared before count as no difference. The claims of a "
        "table or figure name it:"
    ]
    if report.comparable:
        texts.insert(
            0,
            "Levels name tables and figures without claims. They are compared with numbers published for the "
            "same split: of the paper, else of its official repository; on test-dev those that the "
            "evaluation server gave for our runs. A number counts as reproduced or as close where its whole "
            "95 % interval over seeds differs by at most "
            + "; ".join(f"{low} or {high} ({name})" for name, (low, high) in THRESHOLDS.items())
            + ".",
        )
    return texts


def facts(report: ReportInput, found: Sequence[Section], truth: GroundTruth) -> dict[str, str]:
    """What was run, on what hardware and data: label -> text."""
    current = [section for section in found if section.item["made"] and not section.outdated]
    kept = [section for section in current if section.runs_gone]
    here = [section.item["made"] for section in current if not section.runs_gone]
    runs: dict[str, str] = {name: run["state"] for one in here for name, run in one["runs"].items()}
    done = sum(state == "done" for state in runs.values())
    sizes = ", ".join(f"{count} {name}" for name, count in objects_by_size(truth).items())
    crowds = ", ".join(f"{len(ids)} {name}" for name, ids in image_slices(truth, "crowdedness").items())
    made = [section.item["made"] for section in current]
    data = report.dataset
    names = ", ".join(data.categories[:12]) + (", ..." if len(data.categories) > 12 else "")
    of_them = counted(len(here), "table or figure", "tables and figures")
    about = {
        "Preset": report.preset,
        "Runs": f"{done} of {len(runs)} finished, for {of_them}",
        "Training seeds": _by_seeds(here) or "no run",
        "Dataset": f"{data.name} ({data.kind}), {len(data.categories)} categories: {names}",
        "Training split": f"{data.train.n_images} images",
        "Evaluated split": f"{len(truth.images)} images, {len(truth.objects)} objects ({sizes}); images by "
        f"crowdedness: {crowds}",
        "Annotations": f"SHA-256 {truth.fingerprint[:12]}",
        "Hardware": "; ".join(sorted({text for one in made for text in one["hardware"]}))
        or "no finished run",
    }
    if kept:
        gone = set().union(*(section.runs_gone for section in kept))
        about["Kept from an earlier report"] = (
            f"{counted(len(kept), 'table or figure', 'tables and figures')} "
            f"({_by_seeds([section.item['made'] for section in kept])}), of which "
            f"{counted(len(gone), 'run')} {'is' if len(gone) == 1 else 'are'} no longer here"
        )
    if software := sorted({text for one in made for text in one["software"]}):
        about["Software"] = ", ".join(software)
    if commits := sorted({one["commit"] for one in made if one["commit"]}):
        about["Commit"] = ", ".join(commits)
    return about


def _by_seeds(made: Sequence[Mapping[str, Any]]) -> str:
    """How many items have how many seeds: ``11 items with 3 seeds``."""
    counts = Counter(len(one["seeds"]) for one in made if one["seeds"])
    return ", ".join(
        f"{counted(items, 'item')} with {counted(seeds, 'seed')}"
        for seeds, items in sorted(counts.items(), reverse=True)
    )


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
    environment.filters["cells"] = _cells_json
    environment.filters["percent"] = lambda share: f"{100 * share:.2f}%"
    environment.filters["effect"] = lambda value: f"{value:+g}".replace("-", "−") if value else "0"
    return environment.get_template(name)


def _cells_json(cells: Sequence[Mapping[str, Any]]) -> str:
    """Title and lines of each cell's explanation, as JSON that a script element may hold."""
    explained = [(f"{cell['row']}, {cell['column']}", explain(cell)) for cell in cells]
    return json.dumps(explained, ensure_ascii=False).replace("<", "\\u003c")


def studies(folder: Path) -> list[str]:
    """Names of the studies that have a report in a preset's folder."""
    return sorted(path.parent.name for path in folder.glob("studies/*/index.html"))


def write(
    report: ReportInput, found: Sequence[Section], about: Mapping[str, str], folder: Path, first: Answer
) -> dict[str, str]:
    """``index.html``, which holds its images and needs no other file, and ``README.md``, its short form."""
    papers = list(dict.fromkeys(section.item["paper"] for section in found))
    values = {
        "report": report, "sections": found, "about": about, "comparability": comparability(report),
        "judging": judging(report), "legend": LEGEND,
        "verdicts": verdict_counts(found), "papers": papers, "studies": studies(folder),
        "adopted_metrics": METRICS, "answer": first, "claims_file": forest.NAME, "claims_title": forest.TITLE,
        "curves_file": curves.NAME, "curves_title": curves.TITLE,
    }  # fmt: skip
    names = ("README.md", "index.html")
    return {name: _template(f"{name}.j2").render(values) for name in names}


def claims_of(found: Sequence[Section], papers: PaperNumbers) -> list[tuple[str, list[MeasuredClaim]]]:
    """The claims of the items that are not out of date, by paper."""
    titles = {
        entry.id.partition(".")[0]: papers.papers[entry.paper] for entry in reversed(papers.entries.values())
    }
    claims: dict[str, list[MeasuredClaim]] = {}
    for section in found:
        if not section.outdated:
            claims.setdefault(section.item["paper"], []).extend(forest.claims_in(section.item))
    return [
        (f"{titles[paper].title} ({titles[paper].venue})" if paper in titles else paper, some)
        for paper, some in claims.items()
        if some
    ]
