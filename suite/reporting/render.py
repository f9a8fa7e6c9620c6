"""From finished runs to the files of a report."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.evaluation.coco_ap import Evaluator
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.matches import Array
from suite.evaluation.measurements import Measurements
from suite.evaluation.replicates import REPLICATES, Measure, replicates
from suite.experiments.schema import Picture
from suite.files import read_json, write_atomically
from suite.locks import locked
from suite.reporting import curves, forest, page
from suite.reporting.answer import Answer, answer
from suite.reporting.claims import p_values
from suite.reporting.document import document, is_document, provenance
from suite.reporting.figures import draw
from suite.reporting.formats import csv_text, latex, markdown
from suite.reporting.inputs import ExperimentInput, ReportInput
from suite.reporting.items import Item, build
from suite.reporting.measuring import FULL_SCALE_MARGIN, MARGIN, with_claims
from suite.reporting.methods import SLICES, measure_methods
from suite.reporting.paper_numbers import paper_numbers
from suite.reporting.pictures.draw import draw as draw_picture
from suite.reporting.pictures.kinds import ANALYTIC
from suite.reporting.pictures.model import PictureInput, PictureRow, Pictures
from suite.reporting.remarks import remarks
from suite.reporting.standings import standings
from suite.reporting.table_layout import layout
from suite.reporting.verdicts import Verdict
from suite.runs.directory import RunDirectory

_Start = Callable[..., Future[Any]]
_DRAWING_PROCESSES = 2
_DRAWN_WITH = (
    "suite.reporting.render",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "mpl_toolkits.mplot3d",
)
"""Modules that drawing needs; they take seconds to import."""


def render(report: ReportInput, out_dir: Path, evaluator: Evaluator = "hotcoco") -> list[Path]:
    """Write the tables, figures and pages of a report.

    Items that an earlier report left in the folder, and that are not rendered now, stay on the pages.

    Args:
        report: Experiments with their runs.
        out_dir: ``reports/<preset>``; receives ``<id>/item.json``, ``table.md``, ``table.tex`` and
            ``table.csv``, for figures PNG and SVG, and over all ``index.html``, ``README.md`` and the two
            pictures that they begin with.
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
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with locked(out_dir.with_name(f".{out_dir.name}.lock")):  # another command may render the same report
        return _render(report, out_dir, annotations, evaluator)


def _render(report: ReportInput, out_dir: Path, annotations: Path, evaluator: Evaluator) -> list[Path]:
    truth = GroundTruth.load(annotations)
    measurements = Measurements(truth, evaluator)
    written = []
    with _drawing_processes() as start:
        for given, files in _rendered(report, measurements, start, other_p_values(report, out_dir)):
            folder = out_dir / given.experiment.id
            shutil.rmtree(folder, ignore_errors=True)  # a figure of earlier runs must not outlive them
            for name, content in files.items():
                write_atomically(folder / name, content)
                written.append(folder / name)
        everything = [*((given.experiment, given.command) for given in report.experiments), *report.others]
        sections = page.sections(report, everything, out_dir, paper_numbers())
        first, drawn = _first_screen(report, sections, measurements, start)
    for name in (f"{stem}.{kind}" for stem in (forest.NAME, curves.NAME) for kind in ("png", "svg")):
        if name not in drawn:
            (out_dir / name).unlink(missing_ok=True)
    over_all: dict[str, str | bytes] = {**drawn}
    over_all |= page.write(report, sections, page.facts(report, sections, truth), out_dir, first)
    for name, content in over_all.items():
        write_atomically(out_dir / name, content)
        written.append(out_dir / name)
    return written


def measured_items(report: ReportInput, measurements: Measurements, others: Sequence[float]) -> list[Item]:
    """The report's items with their numbers, and their claims settled together.

    Args:
        report: Experiments with their runs.
        measurements: Reads the runs.
        others: p-values of claims that are not measured now, see :func:`other_p_values`.
    """
    _announce_slices(report, measurements)
    return with_claims(
        [build(given, measurements, paper_numbers(), report.comparable) for given in report.experiments],
        report.experiments,
        measurements,
        FULL_SCALE_MARGIN if report.full_scale else MARGIN,
        _declared_claims(report),
        others,
    )


def _first_screen(
    report: ReportInput, sections: Sequence[page.Section], measurements: Measurements, start: _Start
) -> tuple[Answer, dict[str, bytes]]:
    """What the page begins with, and its pictures as files of the report."""
    table = measure_methods(report.methods, measurements)
    plot = forest.forest(page.claims_of(sections, paper_numbers()))
    started = [
        start(function, shown, _subtitle(report))
        for function, shown in ((forest.draw, plot), (curves.draw, table.methods))
        if shown
    ]
    found = standings(table, partial(_redrawn, measurements))
    files: dict[str, bytes] = {name: svg for one in started for name, svg in one.result().items()}
    svgs = [files[f"{name}.svg"] for name in (curves.NAME, curves.NARROW) if f"{name}.svg" in files]
    files.pop(f"{curves.NARROW}.svg", None)  # the page alone shows it
    return answer(plot, table, found, [page.svg_uri(svg) for svg in svgs]), files


def _redrawn(
    measurements: Measurements, run: RunDirectory, measures: Sequence[Measure]
) -> dict[Measure, Array]:
    """A run's numbers on drawings of the images, see :data:`suite.reporting.standings.Redraw`."""
    found = replicates(measurements, run, dict.fromkeys(measures, REPLICATES))
    return {measure: values[1:] for measure, values in found.items()}


def _subtitle(report: ReportInput) -> str:
    return f"preset {report.preset} on {report.dataset.name}"


def _rendered(
    report: ReportInput, measurements: Measurements, start: _Start, others: Sequence[float]
) -> Iterator[tuple[ExperimentInput, dict[str, str | bytes]]]:
    """The files of each item. Figures are drawn in other processes while this one measures.

    ``others`` are p-values of claims that are not measured now.
    """
    subtitle = _subtitle(report)
    pictures_of = {
        given.experiment.id: start(_draw_picture, given, given.experiment.picture, report, subtitle)
        for given in report.experiments
        if given.experiment.picture is not None
    }
    items = measured_items(report, measurements, others)
    charts = {item.id: start(draw, item, subtitle) for item in items if item.experiment.figure}
    evaluation = measurements.any_evaluation()
    for given, item in zip(report.experiments, items, strict=True):
        made = provenance(report, given, evaluation)
        drawn = pictures_of[item.id].result() if item.id in pictures_of else None
        figures = charts[item.id].result() if item.id in charts else {}
        yield given, _files(item, figures if drawn is None else drawn.files, drawn, made, report)


@contextmanager
def _drawing_processes() -> Iterator[_Start]:
    """Other processes; gives a function that has a call made in one of them.

    They are forked by a server, which has imported what drawing needs, and not by this process: it may have
    threads, as Ray's, and a fork copies the locks that they hold but not the threads that would release them.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([*_DRAWN_WITH])
    with (
        ProcessPoolExecutor(_DRAWING_PROCESSES, context) as processes,
        # Threads, because starting a process waits until the server has imported everything.
        ThreadPoolExecutor(_DRAWING_PROCESSES) as threads,
    ):
        yield lambda function, *arguments: threads.submit(
            lambda: processes.submit(function, *arguments).result()
        )


def _declared_claims(report: ReportInput) -> int:
    """Number of claims of all experiments, rendered now or not: all could be settled falsely."""
    experiments = [*(given.experiment for given in report.experiments), *(one for one, _ in report.others)]
    return sum(len(experiment.claims) for experiment in experiments)


def other_p_values(report: ReportInput, out_dir: Path) -> list[float]:
    """p-values of claims of items that are not rendered now, from an earlier report on the same data."""
    found = []
    for experiment, _ in report.others:
        try:
            content = read_json(out_dir / experiment.id / page.ITEM_FILE)
        except SuiteError:
            continue
        if is_document(content) and not page.outdated(content, experiment, report):
            found += p_values(content)
    return found


def _announce_slices(report: ReportInput, measurements: Measurements) -> None:
    """Announce the slices that runs will be asked for, so that one matching pass per run serves them all."""
    for run in (run for method in report.methods for run in method.runs):
        for selection in SLICES.values():
            if run.directory is not None:
                measurements.expect(run.directory, selection)
    for given in report.experiments:
        slices = [column.slice for column in given.experiment.columns if column.slice]
        for run in (run for runs in given.runs.values() for run in runs):
            for selection in slices:
                if run.directory is not None:
                    measurements.expect(run.directory, selection)


def _files(
    item: Item,
    figures: Mapping[str, bytes],
    drawn: Pictures | None,
    made: dict[str, Any],
    report: ReportInput,
) -> dict[str, str | bytes]:
    """The content of an item's files."""
    if drawn is not None:
        item = replace(item, notes=[*item.notes, *drawn.notes])
        if drawn.reason:
            item = replace(item, verdict=Verdict("not run", drawn.reason))
    table, texts = layout(item), remarks(item, report.comparable)
    names = [name.removesuffix(".svg") for name in figures if name.endswith(".svg")]
    content: dict[str, Any] = document(item, table, texts, names, made, paper_numbers(), report.comparable)
    files: dict[str, str | bytes] = {
        "table.md": markdown(item, table, texts),
        "item.json": json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        **figures,
    }
    if table.lines:
        files |= {"table.csv": csv_text(item), "table.tex": latex(item, table)}
    if drawn is not None and len(drawn.numbers):
        files["table.csv"] = drawn.numbers.to_csv(index=False, lineterminator="\n")
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
    if picture.kind in ANALYTIC:
        text = "computed from the formula"
    wanted = PictureInput(given.experiment.title, text, rows, report.dataset, picture.settings)
    return draw_picture(picture.kind, wanted)
