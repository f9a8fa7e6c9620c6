"""From finished runs to the files of a report."""

import json
import shutil
from pathlib import Path

from suite.errors import SuiteError
from suite.evaluation.coco_ap import Evaluator
from suite.evaluation.ground_truth import GroundTruth
from suite.files import write_atomically
from suite.reporting import page
from suite.reporting.figures import draw
from suite.reporting.inputs import ReportInput
from suite.reporting.items import Item, build
from suite.reporting.measure import Measurements
from suite.reporting.published import published
from suite.reporting.tables import cells_json, csv_text, markdown


def render(report: ReportInput, out_dir: Path, evaluator: Evaluator = "hotcoco") -> list[Path]:
    """Write the tables, figures and pages of a report.

    Args:
        report: Experiments with their runs.
        out_dir: ``reports/<preset>``; receives ``<id>/table.md``, ``table.csv``, ``cells.json``, for figures
            ``figure.png`` and ``figure.svg``, and ``index.html`` and ``README.md`` over all.
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
    numbers = published()
    comparable = report.comparable
    items, sections, written = [], [], []
    for given in report.experiments:
        item = build(given, measurements, numbers, comparable)
        files = _files(item, report)
        folder = out_dir / item.id
        shutil.rmtree(folder, ignore_errors=True)  # a figure of earlier runs must not outlive them
        for name, content in files.items():
            write_atomically(folder / name, content)
            written.append(folder / name)
        items.append(item)
        sections.append(page.section(item, files, numbers, comparable))
    about = page.facts(report, items, measurements.truth, measurements.any_evaluation())
    for name, text in (
        ("README.md", page.readme(report, sections, about)),
        ("index.html", page.html(report, sections, about)),
    ):
        write_atomically(out_dir / name, text)
        written.append(out_dir / name)
    return written


def _files(item: Item, report: ReportInput) -> dict[str, str | bytes]:
    subtitle = f"preset {report.preset} on {report.dataset.name}"
    cells = json.dumps(cells_json(item, report.comparable), indent=1, allow_nan=False, ensure_ascii=False)
    return {
        "table.md": markdown(item, report.comparable),
        "table.csv": csv_text(item),
        "cells.json": cells + "\n",
        **draw(item, subtitle),
    }
