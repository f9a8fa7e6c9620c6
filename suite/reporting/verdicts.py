"""Was a table or figure reproduced? One word per item, and the reason for it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from suite.evaluation.uncertainty import ONE_SEED
from suite.experiments.schema import Experiment
from suite.reporting.cells import Cell
from suite.reporting.claims import OUTCOMES, MeasuredClaim
from suite.text import counted

Word = Literal[
    "reproduced", "close", "differs", "inconclusive", "one seed", "not run", "not measurable here",
    "nothing to compare",
]  # fmt: skip
WORDS: tuple[Word, ...] = (
    "reproduced", "close", "differs", "inconclusive", "one seed", "not run", "not measurable here",
    "nothing to compare",
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What a reader may conclude about an item.

    Attributes:
        word: One of :data:`WORDS`.
        because: The reason, with the counts that led to it.
    """

    word: Word
    because: str


def judge(
    experiment: Experiment,
    cells: Sequence[Cell],
    claims: Sequence[MeasuredClaim],
) -> Verdict:
    """Judge an item.

    Its claims name it, where the paper draws a conclusion: ``reproduced`` where all are settled as published,
    ``differs`` where at least as many are settled otherwise as are settled as published, ``close`` where most
    are settled, and most of these as published, else ``inconclusive``.

    An item without claims is named by AP on all images, where levels may be compared, of the rows with a
    number published for the same split: ``inconclusive`` where at most half of these rows are settled; else
    ``reproduced`` where all settled ones are, ``differs`` where at least half of them do, ``close``
    otherwise. So no single row of many names an item, and six metrics of the same detections do not vote six
    times. Other cells keep their differences and intervals, without a vote.

    One seed has no spread to judge by: it gives ``one seed``, never a verdict.

    Args:
        experiment: The item.
        cells: Its cells; none for a picture.
        claims: Its claims, settled with the report's others.
    """
    ours = [cell for cell in cells if cell.command]
    if not any(cell.value is not None for cell in ours):
        if experiment.picture is not None:
            return Verdict("nothing to compare", "a picture: nothing of it was published in numbers")
        reasons = Counter(cell.reason for cell in ours)
        word: Word = "not run"
        if reasons and all(reason.startswith("not measurable") for reason in reasons):
            word = "not measurable here"
        because = reasons.most_common(1)[0][0] if reasons else "no row has a run"
        return Verdict(word, "no run of it is finished" if because == "not run" else because)
    if any(claim.effect is not None for claim in claims):
        return _by_claims(claims)
    levels = [cell for cell in cells if cell.comparison is not None]
    if levels:
        named = [cell for cell in levels if cell.metric == "AP"] or levels
        return _by_levels(named, sum(bool(cell.not_compared) and cell.metric == "AP" for cell in cells))
    other_split = sorted({cell.not_compared for cell in cells if cell.not_compared})
    if other_split:
        return Verdict("nothing to compare", "; ".join(other_split))
    if claims:
        reason = Counter(claim.reason for claim in claims).most_common(1)[0][0]
        return Verdict("not run", f"none of its claims could be measured: {reason}" if reason else "")
    return Verdict("nothing to compare", "no conclusion of a paper is declared for it")


def _by_claims(claims: Sequence[MeasuredClaim]) -> Verdict:
    """The word of an item's claims."""
    counts = Counter(claim.outcome for claim in claims)
    total, holds, fails = len(claims), counts["as published"], counts["not as published"]
    listed = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    because = f"{counted(total, 'claim')}: {listed}"
    if counts[ONE_SEED] and counts[ONE_SEED] + counts["not measured"] == total:
        return Verdict(ONE_SEED, because)
    if holds == total:
        return Verdict("reproduced", because)
    if fails and fails >= holds:
        return Verdict("differs", because)
    return Verdict("close" if 2 * (holds + fails) > total else "inconclusive", because)


def _by_levels(cells: Sequence[Cell], not_compared: int) -> Verdict:
    """The word of the compared cells of one metric."""
    words = Counter(cell.verdict for cell in cells)
    settled = words["reproduced"] + words["close"] + words["differs"]
    counts = ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])
    because = f"levels of {cells[0].metric} against published ones of the same split: {counts}"
    if not_compared:
        because += f"; {counted(not_compared, 'row')} not compared, published on another split"
    if words[ONE_SEED] == len(cells):
        return Verdict(ONE_SEED, because)
    if 2 * settled <= len(cells):
        return Verdict("inconclusive", because)
    if words["reproduced"] == settled:
        return Verdict("reproduced", because)
    return Verdict("differs" if 2 * words["differs"] >= settled else "close", because)
