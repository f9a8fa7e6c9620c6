"""Was a table or figure reproduced? One word per item, and the reason for it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from suite.evaluation.uncertainty import ONE_SEED, Summary, summarise
from suite.experiments.schema import Claim, Experiment
from suite.reporting.cells import Cell
from suite.reporting.fits import Fit
from suite.reporting.paper_numbers import VAL
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


@dataclass(frozen=True)
class Checked:
    """A claim of the paper, measured.

    Attributes:
        text: The claim in words.
        measured: The number that has to be above 0 (gains in AP percent, slopes in AP per unit of aspect
            ratio), over equal seeds; None where it could not be measured.
    """

    text: str
    measured: Summary | None

    @property
    def outcome(self) -> str:
        """``holds`` or ``opposite`` where the 95 % interval excludes 0, else ``open``."""
        return _sign(self.measured, 1.0)


def check_claims(experiment: Experiment, cells: Sequence[Cell], fits: Sequence[Fit]) -> list[Checked]:
    """Measure an experiment's claims."""
    by_place = {(cell.row, cell.column): cell for cell in cells}
    columns = list(dict.fromkeys(cell.column for cell in cells))
    slopes = {fit.row: fit.slope_over_seeds for fit in fits}
    return [
        Checked(
            claim.text,
            slopes.get(claim.row) if claim.kind == "slope" else _gain(experiment, claim, columns, by_place),
        )
        for claim in experiment.claims
    ]


def _gain(
    experiment: Experiment, claim: Claim, columns: Sequence[str], cells: Mapping[tuple[str, str], Cell]
) -> Summary | None:
    """The gain in one column, or how much larger it is there than in another, seed by seed."""
    last = claim.last or (columns[0] if claim.kind == "gain" else columns[-1])
    signs = {last: 1.0} if claim.kind == "gain" else {last: 1.0, claim.first or columns[0]: -1.0}
    terms = [
        (sign * side, cells[row, column].by_seed)
        for column, sign in signs.items()
        for row, side in ((claim.row, 1.0), (experiment.baseline or "", -1.0))
        if (row, column) in cells
    ]
    if len(terms) < 2 * len(signs):
        return None
    seeds = set.intersection(*(set(values) for _, values in terms))
    return summarise({seed: sum(sign * values[seed] for sign, values in terms) for seed in sorted(seeds)})


def _sign(measured: Summary | None, expected: float) -> str:
    """Whether a number has the expected sign: ``holds``, ``opposite``, or ``open`` with 0 in its interval."""
    if measured is None or measured.interval is None or measured.interval[0] * measured.interval[1] <= 0:
        return "open"
    return "holds" if (measured.mean > 0) == (expected > 0) else "opposite"


def judge(
    experiment: Experiment,
    cells: Sequence[Cell],
    claims: Sequence[Checked],
    comparable: bool,
) -> Verdict:
    """Judge an item.

    Where levels may be compared, AP on all images names it, of the rows with a number published for the same
    split: ``inconclusive`` where at most half of these rows are settled; else ``reproduced`` where all
    settled ones are, ``differs`` where at least half of them do, ``close`` otherwise. So no single row of
    many names an item, and six metrics of the same detections do not vote six times.

    Elsewhere, for claims, and for items without such rows, the signs of gains over the baseline are compared
    with the published ones, as far as their 95 % interval over seeds excludes 0: ``reproduced`` where all are
    settled as published, ``close`` where most are settled, and most of these as published, ``differs`` where
    as many or more are settled the other way round, else ``inconclusive``.

    One seed has no spread to judge by: it gives ``one seed``, never a verdict.

    Args:
        experiment: The item.
        cells: Its cells; none for a picture.
        claims: Its claims, measured.
        comparable: Whether levels may be judged against published ones.
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
    levels = [cell for cell in cells if cell.comparison is not None]
    if levels:
        named = [cell for cell in levels if cell.metric == "AP"] or levels
        return _by_levels(named, sum(bool(cell.not_compared) and cell.metric == "AP" for cell in cells))
    gains = [
        (cell.difference, cell.published_difference)
        for cell in cells
        if cell.unit == "%" and cell.difference is not None and cell.published_difference
        if not comparable or cell.published_split == VAL
    ]
    settling = [one for one in (*(claim.measured for claim in claims), *(gain for gain, _ in gains)) if one]
    if settling and all(one.interval is None for one in settling):
        return Verdict(ONE_SEED, f"signs of {counted(len(settling), 'gain')}: no spread to settle any by")
    other_split = sorted({cell.not_compared for cell in cells if cell.not_compared})
    if other_split and not settling:
        return Verdict("nothing to compare", "; ".join(other_split))
    outcomes = Counter(claim.outcome for claim in claims)
    outcomes += Counter(_sign(gain, theirs) for gain, theirs in gains)
    return _by_signs(outcomes)


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


def _by_signs(outcomes: Counter[str]) -> Verdict:
    total, holds, opposite = outcomes.total(), outcomes["holds"], outcomes["opposite"]
    if not total:
        return Verdict("nothing to compare", "the paper printed no number or claim that could be compared")
    because = (
        f"signs of {total} gain{'s' if total > 1 else ''}: {holds} settled as published, {opposite} settled "
        f"the other way round, {outcomes['open']} open"
    )
    if 2 * (holds + opposite) <= total:
        return Verdict("inconclusive", because)
    if holds == total:
        return Verdict("reproduced", because)
    return Verdict("close" if holds > opposite else "differs", because)
