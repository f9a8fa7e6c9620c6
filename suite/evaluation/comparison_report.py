"""``suite compare``: a comparison as tables and files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from suite.evaluation.comparison import LEAST_IMAGES, Compared, Comparison, conclusion
from suite.evaluation.error_types import ERROR_TYPES
from suite.evaluation.slices import DIMENSIONS
from suite.evaluation.uncertainty import CONFIDENCE, ImageInterval
from suite.files import sha256, write_atomically, write_json

EXTREMES = 10
"""Categories printed that gain most, and that lose most."""

_UNDEFINED = "–"
_COLUMNS = (
    *("baseline", "other", "group", "name", "images", "objects", "categories"),
    *("baseline_value", "other_value", "difference", "low", "high", "standard_error", "p", "replicates"),
    *("baseline_low", "baseline_high", "other_low", "other_high"),
)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print tables in percent, and in words what may be concluded."""
    for reason, count in comparison.truth.mended.items():
        console.print(f"[yellow]annotations[/yellow]: {count:,} x {escape(reason)}")
    for detector in comparison.detectors:
        console.print(f"{escape(detector.label)}: {len(detector.found.frame):,} detections")
        for reason, count in detector.found.dropped.items():
            console.print(f"  [yellow]left out[/yellow]: {count:,} x {escape(reason)}")
    for label, rows in comparison.rows.items():
        base = comparison.baseline.label
        groups = {group: [row for row in rows if row.group == group] for group in _groups(rows)}
        title = f"COCO's numbers: {label} against {base}"
        console.print(_difference_table(title, "COCO", groups.pop("metric"), base, label))
        categories = groups.pop("category", [])
        for group, found in groups.items():
            what = DIMENSIONS[group].description if group in DIMENSIONS else "mean of groups of categories"
            console.print(_difference_table(f"AP by {group}: {what}", group, found, base, label))
        console.print(_category_table(categories, base, label))
        console.print(_error_table(comparison, label))
        console.print(f"[bold]{escape(sentence(comparison, label))}[/bold]")
    console.print(
        f"Percent. Brackets: {CONFIDENCE:.0%} reflected bootstrap interval over images, "
        f"{comparison.replicates:,} replicates, seed {comparison.seed}; p: two-sided bootstrap, of each "
        f"line alone. Annotations sha256 {comparison.truth.fingerprint[:12]}."
    )


def sentence(comparison: Comparison, label: str) -> str:
    """What may be concluded about a detector and the baseline."""
    ap = next(row for row in comparison.rows[label] if row.name == "AP")
    return conclusion(comparison.baseline.label, label, ap)


def write_comparison(comparison: Comparison, out: Path, annotations: Path) -> list[Path]:
    """Write ``comparison.json`` and ``comparison.csv``, each atomically; numbers in [0, 1].

    Null and empty values are undefined numbers. Writing again writes the same bytes.

    Raises:
        SuiteError: The folder cannot be written.
    """
    truth = comparison.truth
    content = {
        "ground_truth": {"file": annotations.name, "sha256": truth.fingerprint, "mended": truth.mended},
        "images": len(truth.images),
        "objects": len(truth.objects),
        "detectors": [
            {
                "label": detector.label,
                "sha256": sha256(detector.path),
                "evaluated": len(detector.found.frame),
                "dropped": detector.found.dropped,
                "error_types": asdict(detector.errors),
            }
            for detector in comparison.detectors
        ],
        "baseline": comparison.baseline.label,
        "interval": {
            "method": "reflected", "over": "images", "confidence": CONFIDENCE,
            "replicates": comparison.replicates, "seed": comparison.seed,
        },
        "conclusions": {label: sentence(comparison, label) for label in comparison.rows},
        "differences": {label: [asdict(row) for row in rows] for label, rows in comparison.rows.items()},
    }  # fmt: skip
    write_json(out / "comparison.json", content)
    write_atomically(out / "comparison.csv", _csv(comparison))
    return [out / name for name in ("comparison.json", "comparison.csv")]


def _groups(rows: Sequence[Compared]) -> list[str]:
    return list(dict.fromkeys(row.group for row in rows))


def _percent(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return _UNDEFINED
    shown = round(100 * value, 1) + 0.0  # no minus before 0.0
    text = f"{shown:+.1f}" if signed else f"{shown:.1f}"
    return text.replace("-", "−")


def _interval(interval: ImageInterval | None) -> str:
    if interval is None:
        return _UNDEFINED
    return f"[{_percent(interval.low, signed=True)}, {_percent(interval.high, signed=True)}]"


def _p(row: Compared) -> str:
    if row.p is None or row.difference is None:
        return _UNDEFINED
    least = 2 / (row.difference.replicates + 1)
    return f"{'≤ ' if row.p <= least else ''}{row.p:.3f}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Group:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(escape(name), justify="right" if number and name != "what" else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    return Group(Text(title, style="bold"), table, Text(f"{caption}\n" if caption else "", style="dim"))


def _difference_table(
    title: str, first: str, rows: Sequence[Compared], base: str, label: str, caption: str = ""
) -> Group:
    several = any(row.categories > 1 for row in rows)
    lines = []
    for row in rows:
        counts = [f"{row.images:,}", f"{row.objects:,}", *([str(row.categories)] if several else [])]
        values = [_percent(row.baseline), _percent(row.other), _percent(row.gain, signed=True)]
        lines.append([row.name, *counts, *values, _interval(row.difference), _p(row)])
    counted = ["images", "objects", *(["categories"] if several else [])]
    return _table(title, [first, *counted, base, label, "change", f"{CONFIDENCE:.0%}", "p"], lines, caption)


def _category_table(rows: Sequence[Compared], base: str, label: str) -> Group:
    settled = [row for row in rows if row.difference is not None]
    ranked = sorted(settled, key=lambda row: row.gain or 0.0, reverse=True)
    shown = ranked if len(ranked) <= 2 * EXTREMES else ranked[:EXTREMES] + ranked[-EXTREMES:]
    which = "all" if shown is ranked else f"the {EXTREMES} that gain most and the {EXTREMES} that lose most"
    captions = []
    if shown is not ranked:
        by_chance = (1 - CONFIDENCE) * len(ranked)
        captions.append(
            f"Of {len(ranked)} equal categories about {by_chance:.0f} intervals would leave 0 out by chance; "
            "changes that are picked for being the largest are too large on average."
        )
    if len(settled) < len(rows):
        few = len(rows) - len(settled)
        captions.append(f"Not shown: {few} with objects in fewer than {LEAST_IMAGES} images.")
    caption = " ".join(captions)
    return _difference_table(f"AP by category: {which}", "category", shown, base, label, caption)


def _error_table(comparison: Comparison, label: str) -> Group:
    base, other = (
        next(one for one in comparison.detectors if one.label == name)
        for name in (comparison.baseline.label, label)
    )
    lines = []
    for name, meaning in ERROR_TYPES.items():
        before, after = base.errors.delta_ap[name], other.errors.delta_ap[name]
        counts = [
            f"{one.errors.counts[name]:,}" if name in one.errors.counts else "" for one in (base, other)
        ]
        gains = (_percent(before), _percent(after), _percent(after - before, signed=True))
        lines.append([name, *gains, *counts, meaning])
    return _table(
        f"Kinds of errors (TIDE): what mending one kind would add to AP at IoU {base.errors.foreground:g}",
        ["error", base.label, label, "change", f"{base.label}: number", f"{label}: number", "what"],
        lines,
        "Without intervals. The additions do not add up.",
    )


def _csv(comparison: Comparison) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for label, rows in comparison.rows.items():
        for row in rows:
            values: list[Any] = [comparison.baseline.label, label, row.group, row.name]
            values += [row.images, row.objects, row.categories, row.baseline, row.other, row.gain]
            gain = row.difference
            values += [gain.low, gain.high, gain.standard_error] if gain else [None] * 3
            values += [row.p, gain.replicates if gain else None]
            for own in (row.baseline_interval, row.other_interval):
                values += [own.low, own.high] if own else [None] * 2
            writer.writerow([f"{one:.12g}" if isinstance(one, float) else one for one in values])
    return stream.getvalue()
