"""A paper's claim, measured, and settled together with the report's others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from suite.evaluation.contrasts import (
    Decision,
    Interval,
    Look,
    adjusted_interval,
    decide,
    holm,
    sequential_p,
)

Outcome = Literal["as published", "not as published", "open", "one seed", "too few objects", "not measured"]
OUTCOMES: tuple[Outcome, ...] = (
    "as published", "not as published", "open", "one seed", "too few objects", "not measured",
)  # fmt: skip


@dataclass(frozen=True)
class MeasuredClaim:
    """A claim of a paper with all that was measured of it.

    Attributes:
        item: Id of the table or figure that declares it.
        text: The claim in words.
        kind: ``gain``, ``gain_rises``, ``slope`` or ``trend``.
        row: Label of the row that it is about; empty for a trend over all rows.
        unit: What the effect is counted in: ``AP``, another metric, or ``AP per unit of aspect ratio``.
        expected: What the paper found: ``positive``, ``negative`` or ``no difference``.
        margin: Effects of smaller size count as no difference; declared before any was measured.
        published: The same contrast of the published numbers, or None where these are not known.
        seeds: The seeds that all its rows have, ascending.
        looks: The contrast at each number of seeds that is looked at, see
            :data:`suite.evaluation.contrasts.LOOKS`.
        now: The contrast with all its seeds; None with fewer than two of them, or where it was not measured.
        effect: The contrast with all its seeds; None where it was not measured.
        reason: Why it settles nothing, where that is not for its intervals: one seed, too few objects, or
            why it was not measured; else empty.
        spearman: For a trend, Spearman's rank correlation of our rows with the published ones, in [-1, 1].
        interval: 95 % interval of ``effect`` for new seeds and new images, as if it were the only claim and
            looked at once; None where ``now`` is.
        p: The level at which its looks settle it; None where ``now`` is None or it settles nothing.
        adjusted_p: ``p`` within the report's claims (Holm): at most 0.05 where it is settled.
        adjusted: The interval that decides: at the claim's own level within the report, over all looks.
        decision: What ``adjusted`` settles: ``positive``, ``negative``, ``no difference`` or ``open``.
        outcome: What a reader may conclude, one of :data:`OUTCOMES`: only ``as published`` and ``not as
            published`` are settled.
        level: The level at which its looks decide, within the report's claims; None where ``p`` is.
        rows: Labels of the rows that it is about.
    """

    item: str
    text: str
    kind: str
    row: str
    unit: str
    expected: Decision
    margin: float
    published: float | None
    seeds: tuple[int, ...] = ()
    looks: tuple[Look, ...] = ()
    now: Look | None = None
    effect: float | None = None
    reason: str = ""
    spearman: float | None = None
    interval: Interval | None = None
    p: float | None = None
    adjusted_p: float | None = None
    adjusted: Interval | None = None
    decision: Decision = "open"
    outcome: Outcome = "not measured"
    level: float | None = None
    rows: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether it holds or fails for new seeds and new images."""
        return self.outcome in ("as published", "not as published")


def with_interval(claim: MeasuredClaim) -> MeasuredClaim:
    """A measured claim with its own interval and p-value, where it has looks."""
    if claim.now is None:
        return claim
    return replace(
        claim, interval=claim.now.interval(), p=sequential_p(claim.looks, claim.margin), outcome="open"
    )


def settled_together(
    claims: Sequence[MeasuredClaim], family: int, others: Sequence[float] = ()
) -> list[MeasuredClaim]:
    """Settle claims at an error rate that holds for all of them together.

    Args:
        claims: Measured claims, of any number of items.
        family: Number of claims that the project declares, measured or not.
        others: p-values of claims that are not among these, of items that an earlier report holds.
    """
    judged = [claim for claim in claims if claim.p is not None]
    found = iter(holm([*(claim.p or 0.0 for claim in judged), *others], family))
    return [_settled(claim, next(found)) if claim.p is not None else claim for claim in claims]


def _settled(claim: MeasuredClaim, within: Any) -> MeasuredClaim:
    adjusted = adjusted_interval(claim.looks, within.level)
    decision = decide(adjusted, claim.margin)
    outcome: Outcome = "open"
    if decision != "open":
        outcome = "as published" if decision == claim.expected else "not as published"
    return replace(
        claim, adjusted_p=within.p, adjusted=adjusted, decision=decision, outcome=outcome, level=within.level
    )


def p_values(item: Mapping[str, Any]) -> list[float]:
    """The p-values of the claims in an ``item.json``; those of older versions have none."""
    found = item.get("claims") or []
    return [
        float(one["p"]) for one in found if isinstance(one, dict) and isinstance(one.get("p"), int | float)
    ]
