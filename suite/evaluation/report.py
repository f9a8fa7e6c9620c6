"""``suite evaluate``: what one file of detections achieves, as tables and files."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from suite.data.boxes import RatioStatistic
from suite.evaluation.coco_ap import PARAMETERS, Evaluation, Evaluator, evaluate_slices
from suite.evaluation.detections import Detections, load_detections
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.slices import (
    DIMENSIONS,
    category_groups,
    category_shapes,
    chosen_dimensions,
    image_slices,
    objects_by_crowdedness,
    on_fixed_categories,
)
from suite.files import sha256, write_atomically, write_json

ALL = "all"
_SIZES = {"S": "small", "M": "medium", "L": "large"}
_RATIOS: tuple[RatioStatistic, ...] = ("mean", "geometric_mean", "median", "mean_width_over_height")


@dataclass(frozen=True)
class Report:
    """What was evaluated, and the numbers.

    Attributes:
        truth: The annotations.
        found: The detections.
        evaluations: ``all`` and each slice as ``<dimension>=<bin>`` -> its numbers.
        dimensions: The dimensions asked for, ``shape`` and ``size`` among them.
    """

    truth: GroundTruth
    found: Detections
    evaluations: dict[str, Evaluation]
    dimensions: list[str]

    @property
    def overall(self) -> Evaluation:
        """The numbers on all images."""
        return self.evaluations[ALL]

    def bins(self, dimension: str) -> dict[str, Evaluation]:
        """The evaluations of a dimension of images, by bin."""
        start = f"{dimension}="
        return {
            name.removeprefix(start): one for name, one in self.evaluations.items() if name.startswith(start)
        }


def evaluate_files(
    annotations: Path,
    detections: Path,
    slices: str = "objects,crowdedness",
    evaluator: Evaluator = "hotcoco",
    lenient: bool = False,
) -> Report:
    """Evaluate a file of detections on all images and on slices, in one matching pass.

    Args:
        annotations: A COCO ``instances`` file.
        detections: COCO results as JSON, or the ``detections.parquet`` of a run.
        slices: See :func:`suite.evaluation.slices.chosen_dimensions`.
        evaluator: ``hotcoco`` or ``pycocotools``.
        lenient: Leave out or complete what cannot be evaluated as it is, and count it.

    Raises:
        SuiteError: A slice is unknown, or a file is not as it should be; the message has every fault.
    """
    dimensions = chosen_dimensions(slices)
    truth = GroundTruth.load(annotations, lenient)
    found = load_detections(detections, truth, lenient)
    images: dict[str, Any] = {ALL: truth.images["id"]}
    for dimension in dimensions:
        if dimension in DIMENSIONS:
            bins = image_slices(truth, dimension)
            images |= {f"{dimension}={label}": ids for label, ids in bins.items()}
    return Report(truth, found, evaluate_slices(truth, found.frame, images, evaluator), dimensions)


def print_report(report: Report, console: Console, categories: bool = False) -> None:
    """Print tables in percent; a dash where a number is undefined, because there is no such object."""
    for kind, counts in (("annotations", report.truth.mended), ("detections", report.found.dropped)):
        for reason, count in counts.items():
            what = reason if kind == "annotations" else f"{reason}: left out"
            console.print(f"[yellow]{kind}[/yellow]: {count:,} x {escape(what)}", highlight=False)
    console.print(_overall_table(report))
    for dimension in report.dimensions:
        if dimension == "shape":
            console.print(_shape_table(report))
        elif dimension == "size":
            console.print(_size_table(report))
        else:
            console.print(_image_table(report, dimension, wide=console.width >= 100))
    if categories:
        console.print(_category_table(report))
    console.print(
        f"Percent. {report.overall.evaluator} {report.overall.version}; "
        f"annotations sha256 {report.truth.fingerprint[:12]}.",
        highlight=False,
    )


def write_report(report: Report, out: Path, annotations: Path, detections: Path) -> list[Path]:
    """Write ``metrics.json``, ``slices.csv`` and ``categories.csv``, each atomically; AP in [0, 1].

    Empty values and null are undefined numbers. Writing again writes the same bytes.

    Raises:
        SuiteError: The folder cannot be written.
    """
    overall = report.overall
    summary = {
        "metrics": overall.metrics,
        "images": overall.n_images,
        "objects": overall.n_objects,
        "categories": overall.n_categories,
        "by_size": {
            size: {"objects": objects, "categories": categories}
            for size, (objects, categories) in overall.by_size.items()
        },
        "evaluator": overall.evaluator,
        "version": overall.version,
        "parameters": PARAMETERS,
        "ground_truth": {
            "file": annotations.name, "sha256": report.truth.fingerprint, "mended": report.truth.mended,
        },
        "detections": {
            "file": detections.name, "sha256": sha256(detections),
            "evaluated": len(report.found.frame), "dropped": report.found.dropped,
        },
    }  # fmt: skip
    write_json(out / "metrics.json", summary)
    write_atomically(out / "slices.csv", _csv(_slice_rows(report)))
    write_atomically(out / "categories.csv", _csv(_category_rows(report)))
    return [out / name for name in ("metrics.json", "slices.csv", "categories.csv")]


def percent(value: float | None) -> str:
    """A number of [0, 1] in percent to one decimal; a dash for None and NaN."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:.1f}"


def _table(title: str, columns: list[str], rows: list[list[str]], caption: str = "") -> Group:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    return Group(Text(title, style="bold"), table, Text(f"{caption}\n" if caption else "", style="dim"))


def _overall_table(report: Report) -> Group:
    overall = report.overall
    title = (
        f"{len(report.found.frame):,} detections on {overall.n_images:,} images, "
        f"{overall.n_objects:,} objects of {overall.n_categories} categories"
    )
    rows = []
    for name, value in overall.metrics.items():
        size = name[-1] if name[-1] in overall.by_size else ""
        objects, categories = overall.by_size.get(size, (overall.n_objects, overall.n_categories))
        rows.append([name, percent(value), f"{overall.n_images:,}", f"{objects:,}", str(categories)])
    return _table(title, ["COCO", "%", "images", "objects", "categories"], rows)


def _image_table(report: Report, dimension: str, wide: bool) -> Group:
    bins = report.bins(dimension)
    common, fixed = on_fixed_categories(bins)
    caption = (
        f"AP fixed: over the {len(common)} categories with objects in every bin that has any; "
        "only this column is comparable between bins."
    )
    if dimension == "crowdedness":
        own = ", ".join(f"{label} {n:,}" for label, n in objects_by_crowdedness(report.truth).items())
        caption += f"\nObjects by their own largest IoU with another: {own}."
    names = ["AP", "AP50", "AP75", *(["APS", "APM", "APL"] if wide else []), "AR100"]
    rows = []
    for label, one in bins.items():
        counts = [f"{one.n_images:,}", f"{one.n_objects:,}", str(one.n_categories)]
        numbers = [percent(one.metrics[name]) for name in names]
        rows.append([label, *counts, *numbers, percent(fixed[label]["AP"])])
    columns = ["bin", "images", "objects", "categories", *names, "AP fixed"]
    return _table(f"{dimension}: {DIMENSIONS[dimension].description}", columns, rows, caption)


def _size_table(report: Report) -> Group:
    overall = report.overall
    rows = []
    for size, label in _SIZES.items():
        objects, categories = overall.by_size[size]
        numbers = [percent(overall.metrics[f"AP{size}"]), percent(overall.metrics[f"AR{size}"])]
        rows.append([label, f"{objects:,}", str(categories), *numbers])
    columns = ["bin", "objects", "categories", "AP", "AR100"]
    return _table("size: COCO's areas of objects", columns, rows)


def _groups(report: Report) -> dict[str, pd.DataFrame]:
    """The rows of the categories of each group of shapes."""
    rows = report.overall.categories
    return {label: rows[rows["name"].isin(names)] for label, names in category_groups(report.truth).items()}


def _shape_table(report: Report) -> Group:
    caption = (
        "square, slender: FreeAnchor Fig. 5's lists; slender_ltm: LTM's; each where the data has all of it.\n"
        "squarest, most_slender: by the mean of max(w/h, h/w)."
    )
    rows = []
    for label, found in _groups(report).items():
        numbers = [percent(found[name].mean()) for name in ("AP", "AP50", "AP75")]
        which = ", ".join(found["name"])
        rows.append([label, str(len(found)), f"{found['objects'].sum():,}", *numbers, which])
    columns = ["bin", "categories", "objects", "AP", "AP50", "AP75", "which"]
    return _table("shape: mean AP of groups of categories", columns, rows, caption)


def _category_table(report: Report) -> Group:
    ratios = category_shapes(report.truth).set_index("id")["aspect_ratio"]
    found = report.overall.categories
    rows = []
    for number, name in enumerate(found["name"]):
        numbers = [percent(float(found[column].iloc[number])) for column in ("AP", "AP50", "AP75")]
        ratio = ratios.get(found["id"].iloc[number])
        shape = "–" if ratio is None else f"{ratio:.2f}"
        rows.append([name, f"{found['objects'].iloc[number]:,}", *numbers, shape])
    columns = ["category", "objects", "AP", "AP50", "AP75", "mean max(w/h, h/w)"]
    return _table("Categories with objects", columns, rows)


def _slice_rows(report: Report) -> pd.DataFrame:
    rows: list[Mapping[str, Any]] = [_slice_row(ALL, "", report.overall)]
    for dimension in report.dimensions:
        if dimension == "shape":
            for label, found in _groups(report).items():
                means = {name: found[name].mean() for name in ("AP", "AP50", "AP75")}
                counts = {"objects": found["objects"].sum(), "categories": len(found)}
                images = {"images": report.overall.n_images}
                rows.append({"dimension": "shape", "bin": label, **images, **counts, **means})
        elif dimension == "size":
            for size, label in _SIZES.items():
                objects, categories = report.overall.by_size[size]
                counts = {"images": report.overall.n_images, "objects": objects, "categories": categories}
                numbers = {"AP": report.overall.metrics[f"AP{size}"]}
                numbers["AR100"] = report.overall.metrics[f"AR{size}"]
                rows.append({"dimension": "size", "bin": label, **counts, **numbers})
        else:
            bins = report.bins(dimension)
            common, fixed = on_fixed_categories(bins)
            for label, one in bins.items():
                extra = {f"{name}_fixed": value for name, value in fixed[label].items()}
                row = _slice_row(dimension, label, one)
                rows.append({**row, "fixed_categories": len(common), **extra})
    columns = [*rows[0], "fixed_categories", "AP_fixed", "AP50_fixed", "AP75_fixed"]
    return pd.DataFrame(rows, columns=columns).astype({"fixed_categories": "Int64"})


def _slice_row(dimension: str, label: str, one: Evaluation) -> dict[str, Any]:
    counts = {"images": one.n_images, "objects": one.n_objects, "categories": one.n_categories}
    return {"dimension": dimension, "bin": label, **counts, **one.metrics}


def _category_rows(report: Report) -> pd.DataFrame:
    """Each category of each slice, with the statistics of its boxes over all images."""
    parts = [one.categories.assign(slice=name) for name, one in report.evaluations.items()]
    rows = pd.concat(parts, ignore_index=True)
    for statistic in _RATIOS:
        ratios = category_shapes(report.truth, statistic).set_index("id")["aspect_ratio"]
        rows[f"aspect_ratio_{statistic}"] = rows["id"].map(ratios)
    return rows[["slice", *rows.columns.drop("slice")]]


def _csv(frame: pd.DataFrame) -> str:
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, float_format="%.12g", lineterminator="\n")
    return buffer.getvalue()
