"""Was a table or figure reproduced? One word per item, and the reason for it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from suite.evaluation.uncertainty import Summary, summarise
from suite.experiments.schema import Claim, Experiment
from suite.reporting.cells import Cell
from suite.reporting.fits import Fit

Word = Literal[
    "reproduced", "close", "differs", "inconclusive", "not run", "not measurable here", "nothing to compare"
]
WORDS: tuple[Word, ...] = (
    "reproduced", "close", "differs", "inconclusive", "not run", "not measurable here", "nothing to compare",
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

    Where levels may be compared, its word is the worst of its cells' verdicts. Elsewhere, and for claims, the
    signs of gains over the baseline are compared with the published ones, as far as their 95 % interval over
    seeds excludes 0: ``reproduced`` where all are settled as published, ``close`` where most are settled, and
    most of these as published, ``differs`` where as many or more are settled the other way round, else
    ``inconclusive``.

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
    levels = Counter(cell.verdict for cell in cells if cell.verdict)
    if comparable and levels:
        worst = next(word for word in ("differs", "inconclusive", "close", "reproduced") if levels[word])
        counts = ", ".join(f"{levels[word]} {word}" for word in WORDS if levels[word])
        return Verdict(worst, f"levels of AP against the published ones: {counts}")  # type: ignore[arg-type]
    outcomes = Counter(claim.outcome for claim in claims)
    outcomes += Counter(
        _sign(cell.difference, cell.published_difference)
        for cell in cells
        if cell.unit == "%" and cell.difference is not None and cell.published_difference
    )
    return _by_signs(outcomes)


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
