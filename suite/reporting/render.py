"""From finished runs to the files of a report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.evaluation.coco_ap import Evaluator
from suite.evaluation.ground_truth import GroundTruth
from suite.experiments.schema import Picture
from suite.files import write_atomically
from suite.reporting import page, pictures
from suite.reporting.document import document, provenance
from suite.reporting.figures import draw
from suite.reporting.formats import csv_text, latex, markdown
from suite.reporting.inputs import ExperimentInput, ReportInput
from suite.reporting.items import build
from suite.reporting.layout import layout
from suite.reporting.measure import Measurements
from suite.reporting.pictures import PictureInput, PictureRow, Pictures
from suite.reporting.published import published
from suite.reporting.remarks import remarks
from suite.reporting.verdicts import Verdict


def render(report: ReportInput, out_dir: Path, evaluator: Evaluator = "hotcoco") -> list[Path]:
    """Write the tables, figures and pages of a report.

    Items that an earlier report left in the folder, and that are not rendered now, stay on the pages.

    Args:
        report: Experiments with their runs.
        out_dir: ``reports/<preset>``; receives ``<id>/item.json``, ``table.md``, ``table.tex`` and
            ``table.csv``, for figures PNG and SVG, and ``index.html`` and ``README.md`` over all.
        evaluator: See :func:`suite.evaluation.coco_ap.evaluate`.

    Returns:
        The files written, ``index.html`` last. Rendering the same runs again writes the same bytes.

    Raises:
        SuiteError: The annotations are missing, or an experiment names an unknown metric, slice, published
            row or published column. A damaged run raises nothing: its cells are empty and say why.
    """
    annotations = report.dataset.val.annotations
    if not annotations.exists():
        raise SuiteError(
            f"{annotations}: the evaluated split's annotations are missing.", "Run the experiments first."
        )
    measurements = Measurements(GroundTruth.load(annotations), evaluator)
    # Known before the first number is asked for, they take one matching pass a run.
    for given in report.experiments:
        for column in given.experiment.columns:
            if column.slice:
                measurements.images(column.slice)
    written = []
    for given in report.experiments:
        folder = out_dir / given.experiment.id
        files = _files(given, report, measurements)
        shutil.rmtree(folder, ignore_errors=True)  # a figure of earlier runs must not outlive them
        for name, content in files.items():
            write_atomically(folder / name, content)
            written.append(folder / name)
    everything = [*((given.experiment, given.command) for given in report.experiments), *report.others]
    sections = page.sections(report, everything, out_dir, published())
    about = page.facts(report, sections, measurements.truth)
    for name, text in (
        ("README.md", page.readme(report, sections, about)),
        ("index.html", page.html(report, sections, about)),
    ):
        write_atomically(out_dir / name, text)
        written.append(out_dir / name)
    return written


def _files(given: ExperimentInput, report: ReportInput, measurements: Measurements) -> dict[str, str | bytes]:
    """The content of an item's files."""
    item = build(given, measurements, published(), report.comparable)
    subtitle = f"preset {report.preset} on {report.dataset.name}"
    numbers = None
    if given.experiment.picture is None:
        figures = draw(item, subtitle)
    else:
        drawn = _draw_picture(given, given.experiment.picture, report, subtitle)
        figures, numbers = drawn.files, drawn.numbers
        item = replace(item, notes=[*item.notes, *drawn.notes])
        if drawn.reason:
            item = replace(item, verdict=Verdict("not run", drawn.reason))
    table, texts = layout(item), remarks(item, report.comparable)
    made = provenance(report, given, measurements.any_evaluation())
    names = [name.removesuffix(".svg") for name in figures if name.endswith(".svg")]
    content: dict[str, Any] = document(item, table, texts, names, made, published(), report.comparable)
    files: dict[str, str | bytes] = {
        "table.md": markdown(item, table, texts),
        "item.json": json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        **figures,
    }
    if table.lines:
        files |= {"table.csv": csv_text(item), "table.tex": latex(item, table)}
    if numbers is not None and len(numbers):
        files["table.csv"] = numbers.to_csv(index=False, lineterminator="\n")
    return files


def _draw_picture(given: ExperimentInput, picture: Picture, report: ReportInput, subtitle: str) -> Pictures:
    """Draw a picture from the first seed's runs."""
    rows = []
    for row in given.experiment.rows:
        run = next(iter(given.runs.get(row.label, ())), None)
        why = given.unmeasurable.get(row.label) or (f"{run.state}: {run.reason}" if run else "not run")
        rows.append(PictureRow(row.label, run.directory if run else None, why))
    seeds = [run.seed for runs in given.runs.values() for run in runs[:1]]
    text = f"{subtitle}, seed {seeds[0]}" if seeds else subtitle
    if picture.kind in pictures.ANALYTIC:
        text = "computed from the formula"
    wanted = PictureInput(given.experiment.title, text, rows, report.dataset, picture.settings)
    return pictures.draw(picture.kind, wanted)
