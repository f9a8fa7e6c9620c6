"""``item.json``: everything about one rendered item. The page is made from these files alone."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from pydantic import BaseModel, ValidationError

from suite.evaluation.coco_ap import Evaluation
from suite.experiments.schema import Experiment
from suite.reporting.cells import Cell, rounded
from suite.reporting.inputs import ExperimentInput, ReportInput
from suite.reporting.items import Item
from suite.reporting.paper_numbers import Entry, PaperNumbers
from suite.reporting.table_layout import Table
from suite.reporting.verdicts import Verdict
from suite.runs.directory import RunDirectory
from suite.runs.environments import read_environments

_PACKAGES = ("torch", "onedl-mmdetection", "onedl-mmcv")


class _Data(BaseModel):
    name: str
    fingerprint: str


class _Run(BaseModel):
    state: str


class _Made(BaseModel):
    dataset: _Data
    seeds: list[int]
    runs: dict[str, _Run]
    commit: str | None
    hardware: list[str]
    software: list[str]


class _Document(BaseModel):
    """The part of an ``item.json`` that the pages are made from."""

    experiment: str
    paper: str
    source: str
    title: str
    question: str
    definition: str
    verdict: Verdict
    cells: list[Cell]
    table: Table
    remarks: list[str]
    figures: list[str]
    command: str
    made: _Made


_LATER = {
    "published_split": "",
    "test_dev": None,
    "test_dev_source": "",
    "comparison": None,
    "not_compared": "",
}
"""Fields of a cell that items rendered before there were such fields lack, and what they hold there."""


def with_later_fields(content: Any) -> Any:
    """The content of an ``item.json``, its cells with the fields that came later."""
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        return content
    cells = [{**_LATER, **cell} if isinstance(cell, dict) else cell for cell in content["cells"]]
    return {**content, "cells": cells}


def is_document(content: Any) -> bool:
    """Whether the content of an ``item.json`` has all that the pages show, as this version writes it."""
    try:
        _Document.model_validate(content)
    except ValidationError:
        return False
    # The pages read every field of these, also one that has a default in Python.
    parts = [(Table, content["table"]), *((Cell, cell) for cell in content["cells"])]
    return all(part.keys() >= {field.name for field in fields(kind)} for kind, part in parts)


def definition(experiment: Experiment) -> str:
    """A hash of an experiment's file without its comments; an item with another hash is out of date."""
    return hashlib.sha256(experiment.model_dump_json().encode()).hexdigest()[:16]


def document(
    item: Item,
    table: Table,
    texts: Sequence[str],
    figures: Sequence[str],
    made: Mapping[str, Any],
    papers: PaperNumbers,
    comparable: bool,
) -> dict[str, Any]:
    """The content of ``item.json``, as JSON values.

    Args:
        item: The measured item.
        table: Laid out for reading.
        texts: The remarks under the numbers.
        figures: Names of the SVG files to show, without their ending.
        made: What it was made from, see :func:`provenance`.
        papers: The papers' numbers.
        comparable: Whether levels may be compared with the papers'.
    """
    experiment = item.experiment
    return rounded(
        {
            "experiment": item.id,
            "paper": experiment.paper,
            "source": source(item.entry, papers),
            "title": experiment.title,
            "question": experiment.question,
            "kind": experiment.kind,
            "definition": definition(experiment),
            "verdict": asdict(item.verdict),
            "factor": experiment.factor,
            "baseline": experiment.baseline,
            "levels_comparable_with_paper": comparable,
            "columns": [asdict(column) for column in item.columns],
            "cells": [asdict(cell) for cell in item.cells],
            "claims": [asdict(claim) for claim in item.claims],
            "fits": [asdict(fit) for fit in item.fits],
            "audit": item.audit,
            "remarks": list(texts),
            "table": asdict(table),
            "figures": list(figures),
            "command": item.command,
            "made": made,
        }
    )


def source(entry: Entry | None, papers: PaperNumbers) -> str:
    """The paper's table or figure, in words."""
    if entry is None:
        return "no published counterpart"
    paper = papers.papers[entry.paper]
    return f"{entry.kind.capitalize()} {entry.number} of {paper.title} ({paper.venue})"


def provenance(report: ReportInput, given: ExperimentInput, evaluator: Evaluation | None) -> dict[str, Any]:
    """What an item was made from: preset, data, seeds, runs, commit, hardware and software."""
    data = report.dataset
    runs = [run for row in given.runs.values() for run in row]
    done = {run.run_id: run.directory for run in runs if run.directory is not None}
    environments = [one for directory in done.values() for one in _environments(directory)]
    software = {f"{name} {version}" for one in environments for name, version in _versions(one)}
    if evaluator is not None:
        software.add(f"AP by {evaluator.evaluator} {evaluator.version}")
    return {
        "preset": report.preset,
        "dataset": {"name": data.name, "kind": data.kind, "fingerprint": data.fingerprint},
        "seeds": sorted({run.seed for run in runs}),
        "runs": {
            run.run_id: {"seed": run.seed, "state": run.state, "reason": run.reason} for run in runs
        },
        "commit": report.commit,
        "hardware": sorted({_hardware(one) for one in environments}),
        "software": sorted(software),
    }  # fmt: skip


def _environments(run: RunDirectory) -> list[dict[str, Any]]:
    """What the worker wrote about its machines; one empty entry where nothing can be read."""
    found = read_environments(run)
    known: list[dict[str, Any]] = [*found["training"], found["evaluation"]]
    return [one for one in known if isinstance(one, dict) and one] or [{}]


def _versions(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    packages = environment.get("packages")
    if not isinstance(packages, dict):
        return []
    return [(name, str(packages[name])) for name in _PACKAGES if name in packages]


def _hardware(environment: Mapping[str, Any]) -> str:
    hardware = environment.get("hardware")
    if not isinstance(hardware, dict):
        return "not recorded"
    gpus = hardware.get("gpus") or []
    text = f"{hardware.get('cpu', 'unknown CPU')}, {hardware.get('cores', '?')} cores"
    return text + (f", {len(gpus)} x {gpus[0]}" if gpus else ", no GPU")
