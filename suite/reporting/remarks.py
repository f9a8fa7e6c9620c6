"""The remarks under an item's numbers."""

from suite.evaluation.metrics import metric
from suite.reporting.claims import MeasuredClaim
from suite.reporting.items import RELATIVE_UNIT, Item
from suite.reporting.numbers import decimal
from suite.reporting.paper_numbers import TEST_DEV


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
        texts.append("The paper shows no numbers here that could be read: none stand beside ours.")
    elif entry.trained_on is not None:
        how = "" if entry.transcription == "exact" else f"; transcription: {entry.transcription}"
        split = (entry.split or "none") + (f" ({entry.split_note})" if entry.split_note else "")
        texts.append(f"Paper's training set: {entry.trained_on}; evaluated split: {split}{how}.")
    if any(cell.summary and cell.summary.n > 1 for cell in item.cells):
        texts.append(
            "± is the standard deviation over training seeds; brackets in the table are 95 % intervals of "
            "the difference to the baseline over training seeds, on the same images."
        )
    elif any(cell.summary for cell in item.cells):
        texts.append("One training seed: no spread, so no difference can be called settled.")
    if any(cell.summary and metric(cell.metric).timed for cell in item.cells):
        texts.append("Times and speeds depend on the machine: no difference between rows is given.")
    texts += claim_remarks(item)
    if any(claim.interval for claim in item.claims):
        texts.append(
            "Brackets after a claim are 95 % intervals for new seeds and new images; it is settled by the "
            "adjusted one (docs/how-to/claims.md)."
        )
    if not comparable and any(cell.published is not None for cell in item.cells):
        texts.append(
            "Levels are not comparable with the paper's at this preset; what it concludes from them is."
        )
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
    """What the paper concludes, what was measured of it, and what that settles."""
    return [f"Claim of the paper: {claim.text}: {claim_text(claim)}." for claim in item.claims]


def claim_text(claim: MeasuredClaim) -> str:
    """A measured claim in words."""
    if claim.effect is None:
        return f"not measured ({claim.reason})"
    text = f"measured {_signed(claim.effect)}"
    if claim.unit not in ("AP", "NR"):
        text += f" {claim.unit}"
    if claim.interval is not None:
        text += f" {_bracket(claim.interval)}"
    details = []
    if claim.adjusted is not None:
        details.append(f"{_bracket(claim.adjusted)} adjusted for all claims and looks")
    if claim.adjusted_p is not None:
        p = "< 0.001" if claim.adjusted_p < 0.001 else decimal(claim.adjusted_p, 3)
        details.append(f"adjusted p {p}")
    if claim.published is not None:
        details.append(f"published {_signed(claim.published)}")
    if claim.spearman is not None:
        details.append(f"rank correlation with the published rows {decimal(claim.spearman, 2)}")
    if details:
        text += f" ({'; '.join(details)})"
    return f"{text}: {_conclusion(claim)}"


def _conclusion(claim: MeasuredClaim) -> str:
    if claim.settled:
        found = {"positive": "above 0", "negative": "below 0"}.get(
            claim.decision, f"a difference of less than {claim.margin:g}"
        )
        return f"settled {claim.outcome}: {found}"
    return f"settles nothing: {claim.reason}" if claim.reason else claim.outcome


def _signed(value: float) -> str:
    return decimal(value, 1, signed=True)


def _bracket(interval: tuple[float, float]) -> str:
    return f"[{_signed(interval[0])}, {_signed(interval[1])}]"


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
