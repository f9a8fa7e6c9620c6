"""A cell in words: where its number comes from, how certain it is, and which command makes it again."""

from collections.abc import Mapping
from typing import Any

from suite.reporting.numbers import number


def explain(cell: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything about a cell, as pairs of a term and a text.

    Args:
        cell: A cell of ``item.json``.
    """
    unit = cell["unit"]
    lines = [("metric", f"{cell['metric']} ({unit})")]
    summary = cell["summary"]
    if summary is None:
        lines.append(("empty because", cell["reason"]))
    else:
        seeds = ", ".join(f"seed {seed}: {number(value, unit)}" for seed, value in cell["by_seed"].items())
        lines.append(("value", f"{number(summary['mean'], unit)}, {_spread(summary, unit)}"))
        lines.append(("by seed", seeds))
    if cell["difference"] is not None:
        text = f"{number(cell['difference']['mean'], unit, signed=True)}, {_spread(cell['difference'], unit)}"
        lines.append(("difference to the baseline", text))
    if cell["published"] is None:
        lines.append(("published", cell["published_reason"] or "not published"))
    else:
        text = number(cell["published"], unit)
        if cell["published_difference"] is not None:
            text += f" ({number(cell['published_difference'], unit, signed=True)} over its baseline)"
        lines.append(
            ("published" + (f" on {cell['published_split']}" if cell["published_split"] else ""), text)
        )
    if cell["test_dev"] is not None:
        text = f"{number(cell['test_dev']['mean'], unit)}, {_spread(cell['test_dev'], unit)}"
        lines.append(("on test-dev, by the evaluation server", text))
    if cell["test_dev_source"]:
        lines.append(("test-dev results", cell["test_dev_source"]))
    if cell["tuned"]:
        lines.append(("options", cell["tuned"]))
    if cell["comparison"] is not None:
        compared = cell["comparison"]
        ours, theirs = number(compared["ours"]["mean"], unit), number(compared["published"], unit)
        text = f"{compared['verdict']}: {ours} against {theirs} on {compared['split']} ({compared['source']})"
        lines.append(("verdict", text))
    if cell["not_compared"]:
        lines.append(("verdict", cell["not_compared"]))
    if cell["rests_on"]:
        lines.append(("measured on", ", ".join(f"{n} {name}" for name, n in cell["rests_on"].items())))
    if cell["run_ids"]:
        lines.append(("runs", ", ".join(cell["run_ids"])))
    if cell["command"]:
        lines.append(("made by", cell["command"]))
    return lines


def _spread(summary: Mapping[str, Any], unit: str) -> str:
    """The spread and the interval of a mean over seeds, in words."""
    if summary["interval"] is None:
        return "one seed: no interval"
    low, high = (number(bound, unit) for bound in summary["interval"])
    spread = number(summary["spread"], unit)
    return f"{summary['n']} seeds, standard deviation {spread}, 95 % t interval {low} to {high}"
