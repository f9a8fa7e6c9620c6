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
        difference: Difference to the baseline's row, its interval over new seeds; None in that row.
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
