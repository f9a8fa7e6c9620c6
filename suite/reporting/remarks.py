"""The remarks under an item's numbers."""

from suite.evaluation.uncertainty import MOST_SEEDS, more_seeds, more_seeds_text, verdict_boundaries
from suite.reporting.items import RELATIVE_UNIT, Item
from suite.reporting.numbers import decimal, gain
from suite.reporting.paper_numbers import TEST_DEV
from suite.text import duration

_OUTCOMES = {"holds": "settled as claimed", "opposite": "settled the other way round", "open": "open"}


def remarks(item: Item, comparable: bool) -> list[str]:
    """All remarks of an item, each of one or two sentences."""
    texts = [*(fit_text(item, index) for index in range(len(item.fits))), *item.notes]
    if item.experiment.notes:
        texts.append(item.experiment.notes.strip())
    texts += _rests_on(item)
    entry = item.entry
    if entry is None:
        texts.append("This is no table or figure of a paper: there are no published numbers to compare with.")
    elif item.experiment.picture is None and not any(cell.published is not None for cell in item.cells):
        texts.append(
            f"The paper's values cannot be read ({entry.transcription}): there are none to compare with."
        )
    else:
        how = "" if entry.transcription == "exact" else f"; transcription: {entry.transcription}"
        split = (entry.split or "none") + (f" ({entry.split_note})" if entry.split_note else "")
        texts.append(f"Paper's training set: {entry.trained_on}; evaluated split: {split}{how}.")
    if any(cell.summary and cell.summary.n > 1 for cell in item.cells):
        texts.append(
            "± is the standard deviation over training seeds; brackets are the 95 % t interval of the "
            "difference paired by seed."
        )
    elif any(cell.summary for cell in item.cells):
        texts.append("One training seed: no spread, so no difference can be called settled.")
    texts += claim_remarks(item)
    texts += agreement_remarks(item)
    texts += settling_remarks(item)
    if not comparable and any(cell.published is not None for cell in item.cells):
        texts.append("Levels are not comparable with the paper's at this preset; only signs and order are.")
    if any(cell.not_compared for cell in item.cells):
        texts.append(
            f"Numbers published on {TEST_DEV} are judged against the evaluation server's: `suite export "
            "--test-dev RUN` makes the file for it, `suite import-result` takes its numbers."
        )
    return texts + audit_remarks(item)


def audit_remarks(item: Item) -> list[str]:
    """The fairness audit: what the rows differ in besides the declared factor."""
    if len({cell.row for cell in item.cells if cell.value is not None and cell.unit != RELATIVE_UNIT}) < 2:
        return []
    factor = ", ".join(item.experiment.factor)
    if not item.audit:
        return [f"Fairness: the rows' configs differ in the declared factor ({factor}) alone."]
    return [
        f"Fairness: besides the declared factor ({factor}), rows differ from {item.experiment.baseline}."
    ] + [f"{text}." for text in item.audit]


def claim_remarks(item: Item) -> list[str]:
    """What the paper says in words, and what was measured of it."""
    texts = []
    for claim in item.claims:
        measured = "not measured"
        if claim.measured is not None:
            measured = f"measured {gain(claim.measured, '%')}, {_OUTCOMES[claim.outcome]}"
        texts.append(f"Claim of the paper: {claim.text}: {measured}.")
    return texts


def agreement_remarks(item: Item) -> list[str]:
    """How the signs and the order of the gains compare with the paper's; empty without published gains."""
    found = item.agreement
    texts = []
    total = found.same_sign + found.opposite_sign
    if total:
        several = any(cell.difference and cell.difference.n > 1 for cell in item.cells)
        settled = f"; in {found.settled} its 95 % interval excludes 0" if several else ""
        texts.append(f"The gain has the published sign in {found.same_sign} of {total} cells{settled}.")
    if found.pairs > len(item.columns):  # with two rows, their order is the sign of the gain
        texts.append(
            f"Two rows are in the published order in {found.same_order} of {found.pairs} comparisons."
        )
    return texts


def settling_remarks(item: Item) -> list[str]:
    """How many more seeds would settle open signs of gains in AP and open verdicts, and their cost."""
    if item.by_category:
        return []
    gains, verdicts = [], []
    base = item.experiment.baseline or ""
    for cell in item.cells:
        if cell.metric != "AP":
            continue
        place = cell.row if cell.column == "AP" else f"{cell.row}, {cell.column}"
        if cell.difference and cell.difference.n > 1 and more_seeds(cell.difference) != 0:
            test = "" if cell.p_paired is None else f" (p = {decimal(cell.p_paired, 2)}, paired t test)"
            cost = _cost(item, more_seeds(cell.difference), cell.row, base)
            gains.append(f"{place}: {more_seeds_text(cell.difference)}{cost}{test}")
        if cell.comparison and cell.verdict == "inconclusive":
            boundaries, ours = (
                verdict_boundaries(cell.comparison.published, cell.metric),
                cell.comparison.ours,
            )
            cost = _cost(item, more_seeds(ours, boundaries), cell.row)
            verdicts.append(f"{place}: {more_seeds_text(ours, boundaries)}{cost}")
    return [
        f"{what} still open: {'; '.join(open_ones)}."
        for what, open_ones in (("Signs of gains in AP", gains), ("Verdicts", verdicts))
        if open_ones
    ]


def _cost(item: Item, seeds: int | None, *rows: str) -> str:
    """How long this many more seeds of these rows would train, by the mean time of their runs so far."""
    if not seeds or seeds > MOST_SEEDS or any(row not in item.seconds for row in rows):
        return ""
    return f", {duration(seeds * sum(item.seconds[row] for row in rows))} of training"


def _rests_on(item: Item) -> list[str]:
    """How many images, objects and categories the columns were measured on; equal counts are named once."""
    groups: dict[str, list[str]] = {}
    counts = {cell.column: cell.rests_on for cell in item.cells if cell.rests_on}
    for column in item.columns:
        if column.label in counts and not column.categories:
            text = ", ".join(f"{count} {name}" for name, count in counts[column.label].items())
            groups.setdefault(text, []).append(column.label)
    if not groups:
        return []
    return [
        "Measured on: " + "; ".join(f"{', '.join(labels)}: {text}" for text, labels in groups.items()) + "."
    ]


def fit_text(item: Item, index: int) -> str:
    """The line of a scatter figure in words."""
    fit = item.fits[index]
    slopes = fit.slope_over_seeds
    interval = ""
    if slopes is not None and slopes.interval is not None:
        low, high = (decimal(bound, 2, signed=True) for bound in slopes.interval)
        interval = f" (95 % t interval over {slopes.n} seeds: {low} to {high})"
    correlations = ""
    if fit.pearson is not None and fit.spearman is not None:
        correlations = f", Pearson {decimal(fit.pearson, 2)}, Spearman {decimal(fit.spearman, 2)}"
    slope = decimal(fit.slope, 2, signed=True)
    slope_text = f"slope {slope} AP per unit of aspect ratio{interval}"
    return f"{fit.row}: {slope_text}{correlations}, n = {fit.n} categories."
