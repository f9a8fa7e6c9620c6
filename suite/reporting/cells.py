"""A number of a table with everything that belongs to it: spread, provenance, the published number."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.evaluation.uncertainty import Summary


def improvement(by_seed: Mapping[int, float], baseline: Mapping[int, float]) -> dict[int, float]:
    """Relative improvement in percent for each equal seed; seeds whose baseline is 0 are left out."""
    return {seed: 100 * (by_seed[seed] / baseline[seed] - 1) for seed in by_seed if baseline.get(seed)}


@dataclass(frozen=True)
class Comparison:
    """Our number and a published one, both measured on the same split.

    Attributes:
        split: ``val2017`` or ``test-dev2017``.
        ours: Our number over seeds.
        published: The published number.
        source: Where it stands: a table of a paper, or an official repository.
        verdict: ``reproduced``, ``close``, ``differs``, ``inconclusive`` or ``one seed``.
    """

    split: str
    ours: Summary
    published: float
    source: str
    verdict: str


@dataclass(frozen=True)
class Cell:
    """One number of a table or figure.

    Attributes:
        row, column: Labels.
        metric: Name in the metric registry.
        unit: ``%``, ``h`` or ``s``.
        summary: Our number over seeds, or None when the cell is empty.
        reason: Why the cell is empty; empty otherwise.
        by_seed: Our number for each seed.
        difference: Paired difference to the baseline's row on equal seeds; None in that row.
        p_paired, p_sign: Two-sided p of the paired t test and of the sign test that there is none; None where
            undefined.
        published: The paper's number, or None.
        published_split: What the paper measured it on; empty without a number.
        published_reason: Why the paper has no number here.
        published_difference: The paper's number minus its baseline's, or None.
        test_dev: The evaluation server's number over the seeds that were submitted, or None.
        test_dev_source: Server, date and file of each of them.
        comparison: The published number that ours is judged against, or None.
        not_compared: Why there is none, where levels are comparable and the paper has a number.
        tuned: For a row with options found by a study, the study's trials and split; empty otherwise.
        rests_on: Numbers of images, objects and categories evaluated; empty for measures without them.
        run_ids: Runs that the number was measured on.
        command: The command that remakes it.
    """

    row: str
    column: str
    metric: str
    unit: str
    summary: Summary | None = None
    reason: str = ""
    by_seed: dict[int, float] = field(default_factory=dict)
    difference: Summary | None = None
    p_paired: float | None = None
    p_sign: float | None = None
    published: float | None = None
    published_split: str = ""
    published_reason: str = ""
    published_difference: float | None = None
    test_dev: Summary | None = None
    test_dev_source: str = ""
    comparison: Comparison | None = None
    not_compared: str = ""
    tuned: str = ""
    rests_on: dict[str, int] = field(default_factory=dict)
    run_ids: tuple[str, ...] = ()
    command: str = ""

    @property
    def value(self) -> float | None:
        """Our mean over seeds, or None when the cell is empty."""
        return self.summary.mean if self.summary else None

    @property
    def verdict(self) -> str:
        """The comparison's; empty without one."""
        return self.comparison.verdict if self.comparison else ""


def rounded(value: Any) -> Any:
    """``value`` ready for JSON, floats at six decimals so that measuring again changes no byte."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Agreement:
    """How far the signs and the order of the gains agree with the paper.

    Attributes:
        same_sign, opposite_sign: Number of cells with the published sign of the gain, and with the other.
        settled: Number of these cells with a 95 % interval that excludes 0.
        same_order, pairs: Pairs of rows, in one column, that stand in the published order; all such pairs.
    """

    same_sign: int = 0
    opposite_sign: int = 0
    settled: int = 0
    same_order: int = 0
    pairs: int = 0


def agreement(cells: list[Cell]) -> Agreement:
    """Compare gains in percent with the published ones; equal published numbers are left out."""
    same = opposite = settled = same_order = pairs = 0
    for cell in cells:
        gain, expected = cell.difference, cell.published_difference
        if gain is None or not expected or cell.unit != "%" or gain.mean == 0:
            continue
        if (gain.mean > 0) == (expected > 0):
            same += 1
        else:
            opposite += 1
        settled += bool(gain.interval and gain.interval[0] * gain.interval[1] > 0)
    columns: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.unit == "%" and cell.value is not None and cell.published is not None:
            columns.setdefault(cell.column, []).append(cell)
    for column in columns.values():
        for i, first in enumerate(column):
            for second in column[i + 1 :]:
                ours = (first.value or 0.0) - (second.value or 0.0)
                theirs = (first.published or 0.0) - (second.published or 0.0)
                if theirs:
                    pairs += 1
                    same_order += ours * theirs > 0
    return Agreement(same, opposite, settled, same_order, pairs)
