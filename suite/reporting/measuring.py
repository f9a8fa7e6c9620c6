"""The report's claims, measured on its runs and settled together."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from suite.errors import SuiteError
from suite.evaluation.contrasts import Look, looks_at, make_look, moderated
from suite.evaluation.matches import Array
from suite.evaluation.measurements import Measurements
from suite.evaluation.metrics import metric
from suite.evaluation.replicates import REPLICATES, Measure, replicates
from suite.experiments.schema import Claim
from suite.reporting.cells import Cell
from suite.reporting.claims import MeasuredClaim, settled_together, with_interval
from suite.reporting.columns import ItemColumn
from suite.reporting.contrast import contrast_of, published_effect
from suite.reporting.inputs import ExperimentInput, RunInput
from suite.reporting.items import Item
from suite.reporting.reasons import in_one_line
from suite.reporting.verdicts import judge

FULL_SCALE_MARGIN, MARGIN = 0.5, 1.0
"""Effects below these, in percent, count as no difference: at the papers' scale, and at all other presets."""

LEAST_OBJECTS, LEAST_IMAGES = 50, 10
"""Cells on fewer objects or images settle nothing: too few to know from them what other images hold.

``benchmarks/interval_coverage.py`` simulates how often intervals contain the truth, by the number of objects.
"""


def with_claims(
    items: Sequence[Item],
    inputs: Sequence[ExperimentInput],
    measurements: Measurements,
    margin: float,
    family: int | None = None,
    others: Sequence[float] = (),
) -> list[Item]:
    """Items with their claims, settled together, and with the verdicts that follow.

    Args:
        items: Measured items, and
        inputs: what each was measured from.
        measurements: Reads the runs.
        margin: Effects of smaller size count as no difference where a claim has no margin of its own.
        family: Number of claims that the project declares; by default those of these items.
        others: p-values of claims of other items, from an earlier report.
    """
    asked = [
        _Asked(item, given, claim, margin)
        for item, given in zip(items, inputs, strict=True)
        for claim in item.experiment.claims
    ]
    runs = _Runs(inputs, measurements)
    runs.measure(asked)
    measured = [_measured(one, runs, measurements) for one in asked]
    beyond = sum(one.unmeasurable for one in asked)
    settled = settled_together(measured, (family or len(asked)) - beyond, others)
    result = []
    for item in items:
        claims = [claim for claim in settled if claim.item == item.id]
        result.append(replace(item, claims=claims, verdict=judge(item.experiment, item.cells, claims)))
    return result


class _Asked:
    """A claim with all that says where its numbers come from."""

    def __init__(self, item: Item, given: ExperimentInput, claim: Claim, margin: float) -> None:
        self.item, self.given, self.claim = item, given, claim
        self.margin = claim.margin or margin
        self.cells: dict[tuple[str, str], Cell] = {(cell.row, cell.column): cell for cell in item.cells}
        self.published = {place: cell.published for place, cell in self.cells.items()}
        self.contrast = contrast_of(item.experiment, claim, item.columns, self.published)
        by_label = {column.label: column for column in item.columns}
        self.columns = [by_label[label] for label in self.contrast.columns]
        self.measures = {_measure(column): self.contrast.columns[column.label] for column in self.columns}
        self.runs = {
            label: {run.seed: run for run in given.runs.get(label, ()) if run.directory is not None}
            for label in self.contrast.rows
        }
        common = set.intersection(*(set(runs) for runs in self.runs.values()))
        self.seeds = tuple(sorted(common))

    @property
    def unmeasurable(self) -> bool:
        """Whether the preset cannot measure it."""
        return any(label in self.given.unmeasurable for label in self.contrast.rows)

    @property
    def used_runs(self) -> list[RunInput]:
        """The runs of its common seeds."""
        return [runs[seed] for runs in self.runs.values() for seed in self.seeds]

    @property
    def why_missing(self) -> str:
        """Why it has no seed in common; empty where it has one."""
        if self.seeds:
            return ""
        for label in self.contrast.rows:
            reason = next((cell.reason for cell in self.item.row(label) if cell.reason), "")
            if reason and not self.runs[label]:
                return f"{label}: {reason}"
        return "its rows have no finished seed in common"

    def rests_on(self, measurements: Measurements) -> dict[str, dict[str, int]]:
        """Label of a column -> numbers of images and objects that it rests on; empty for a damaged run."""
        run = self.used_runs[0].directory
        assert run is not None
        found = {}
        for column in self.columns:
            if column.categories:
                found[column.label] = {"objects": column.objects or 0}
                continue
            try:
                found[column.label] = measurements.rests_on(run, column.metric, column.slice)
            except SuiteError:  # its number cannot be measured either, and says why
                return {}
        if self.claim.kind == "slope":
            return {"all categories": {"objects": sum(one["objects"] for one in found.values())}}
        return found


def _too_few(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Which column rests on too few objects or images to settle anything; empty for none."""
    for label, found in counts.items():
        objects, images = found.get("objects", LEAST_OBJECTS), found.get("images", LEAST_IMAGES)
        if objects < LEAST_OBJECTS or images < LEAST_IMAGES:
            on = f" on {images} images" if "images" in found else ""
            least = f"{LEAST_OBJECTS} objects on {LEAST_IMAGES} images"
            return f"{label} rests on {objects} objects{on}; at least {least} are needed"
    return ""


def _measure(column: ItemColumn) -> Measure:
    return Measure(column.metric, column.slice, column.categories)


class _Runs:
    """The report's runs, and their numbers."""

    def __init__(self, inputs: Sequence[ExperimentInput], measurements: Measurements) -> None:
        self._measurements = measurements
        found: dict[tuple[str, ...], list[RunInput]] = {}
        for given in inputs:
            for runs in given.runs.values():
                done = sorted((run for run in runs if run.directory is not None), key=lambda run: run.seed)
                found.setdefault(tuple(run.run_id for run in done), done)
        self._detectors = list(found.values())
        several = [len(runs) for runs in self._detectors if len(runs) > 1]
        self._first_stage = min(several, default=2)
        self._done = list({run.run_id: run for runs in self._detectors for run in runs}.values())
        self._values: dict[tuple[str, Measure], Array] = {}
        self._errors: dict[tuple[str, Measure], SuiteError] = {}

    def measure(self, asked: Iterable[_Asked]) -> None:
        """Compute what the claims are about: of their own runs also on resampled images, of all others once.

        A run is matched once for all claims.
        """
        measures = {measure for one in asked for measure in one.measures}
        drawn = {
            (run.run_id, measure)
            for one in asked
            if len(one.seeds) > 1
            for run in one.used_runs
            for measure in one.measures
        }
        for run in self._done:
            assert run.directory is not None
            for source in {metric(one.metric).source for one in measures}:  # a damaged file costs its own
                wanted = {
                    one: REPLICATES if (run.run_id, one) in drawn else 0
                    for one in measures
                    if metric(one.metric).source == source
                }
                try:
                    found = replicates(self._measurements, run.directory, wanted)
                except SuiteError as error:
                    self._errors |= {(run.run_id, one): error for one in wanted}
                else:
                    self._values |= {(run.run_id, one): values for one, values in found.items()}

    def numbers(self, run: RunInput, measures: Mapping[Measure, float]) -> Array:
        """The weighted sum of a run's numbers, in percent: on the images, then on each drawing of them.

        Raises:
            SuiteError: A file of the run is damaged.
        """
        for one in measures:
            if error := self._errors.get((run.run_id, one)):
                raise error
        values = [weight * self._values[run.run_id, one] for one, weight in measures.items()]
        shortest = min(len(one) for one in values)
        return np.asarray(sum(one[:shortest] for one in values))

    def variances(
        self, rows: Sequence[Sequence[RunInput]], measures: Mapping[Measure, float]
    ) -> tuple[list[float], float]:
        """The variance over seeds of each row's weighted sum, moderated by all detectors of the report.

        Args:
            rows: The runs of each row, the same number k of at least 2 for all.
            measures: The weighted sum.

        Returns:
            A variance for each row, and their degrees of freedom. Detectors count with the first seeds that
            all of them have, at most k: whether a detector is given more seeds may have been decided on what
            its first ones gave, and a variance over those would then be too small (after Stein, A Two-Sample
            Test for a Linear Hypothesis Whose Power is Independent of the Variance, 1945).
        """
        stage = min(len(rows[0]), self._first_stage)
        groups = {tuple(run.run_id for run in runs[:stage]): list(runs[:stage]) for runs in rows}
        for runs in self._detectors:
            if len(runs) >= stage:
                groups.setdefault(tuple(run.run_id for run in runs[:stage]), runs[:stage])
        variances = np.array([self._variance(runs, measures) for runs in groups.values()])
        better, df = moderated(variances, stage - 1)
        by_key = dict(zip(groups, better.tolist(), strict=True))
        return [by_key[tuple(run.run_id for run in runs[:stage])] for runs in rows], float(df)

    def _variance(self, runs: Sequence[RunInput], measures: Mapping[Measure, float]) -> float:
        """NaN where a run is damaged or its number undefined: it says nothing about spreads."""
        try:
            return float(np.var([self.numbers(run, measures)[0] for run in runs], ddof=1))
        except SuiteError:
            return math.nan


def _measured(asked: _Asked, runs: _Runs, measurements: Measurements) -> MeasuredClaim:
    """A claim with its looks, not yet settled."""
    claim, contrast = asked.claim, asked.contrast
    unit = "AP per unit of aspect ratio" if claim.kind == "slope" else asked.columns[0].metric
    found = MeasuredClaim(
        asked.item.id, claim.text, claim.kind, claim.row or "", unit, claim.expected, asked.margin,
        published_effect(contrast, asked.published), asked.seeds, reason=asked.why_missing,
        rows=tuple(contrast.rows),
    )  # fmt: skip
    if not asked.seeds:
        return found
    try:
        by_row = {
            label: [runs.numbers(of_row[seed], asked.measures) for seed in asked.seeds]
            for label, of_row in asked.runs.items()
        }
    except SuiteError as error:
        return replace(found, reason=f"cannot be measured: {in_one_line(error)}")
    numbers = {label: np.stack(values) for label, values in by_row.items()}
    if not all(np.isfinite(values[:, 0]).all() for values in numbers.values()):
        return replace(found, reason="undefined on these images")
    effect = float(sum(weight * numbers[label][:, 0].mean() for label, weight in contrast.rows.items()))
    found = replace(found, effect=effect, spearman=_spearman(asked, numbers))
    n = len(asked.seeds)
    counts = asked.rests_on(measurements)
    if few := _too_few(counts):
        return replace(found, outcome="too few objects", reason=few)
    if n == 1:
        return replace(found, outcome="one seed", reason="one seed")
    images = min([REPLICATES, *(one["images"] for one in counts.values() if "images" in one)])
    look = {k: _look(asked, k, numbers, runs, images - 1) for k in {*looks_at(n), n}}
    return with_interval(replace(found, now=look[n], looks=tuple(look[k] for k in looks_at(n))))


def _look(asked: _Asked, k: int, numbers: Mapping[str, Array], runs: _Runs, image_df: float) -> Look:
    """A claim with its first k seeds.

    Args:
        asked: The claim.
        k: At least 2.
        numbers: ``(seeds, 1 + replicates)`` of each row.
        runs: The report's runs.
        image_df: Degrees of freedom of the variance over images.
    """
    rows = asked.contrast.rows
    of_rows = [[of_row[seed] for seed in asked.seeds[:k]] for of_row in asked.runs.values()]
    spreads, seed_df = runs.variances(of_rows, asked.measures)
    weights = list(rows.values())
    effect = sum(weight * float(numbers[label][:k, 0].mean()) for label, weight in rows.items())
    seed_variance = sum(weight**2 * spread / k for weight, spread in zip(weights, spreads, strict=True))
    image_variance = variance_over_images([numbers[label][:k, 1:] for label in rows], weights)
    return make_look(k, effect, seed_variance, seed_df, image_variance, image_df)


def variance_over_images(redrawn: Sequence[Array], weights: Sequence[float]) -> float:
    """Variance of a contrast over images, as far as it is not already part of the variance over seeds.

    Trainings of one method err on different images: that part of a run's variance over images differs from
    run to run, and is found again in the spread over seeds on the same images. It is taken off here.

    Args:
        redrawn: For each row ``(k, B)``: its k runs on B drawings of the images, k at least 2.
        weights: Of the rows.
    """
    defined = np.isfinite(np.concatenate(redrawn)).all(axis=0)
    of_rows = [values[:, defined] for values in redrawn]
    pairs = list(zip(of_rows, weights, strict=True))
    whole = sum(weight * values.mean(axis=0) for values, weight in pairs)
    own = 0.0
    for values, weight in pairs:
        k = len(values)
        of_runs = (values - values.mean(axis=0)).var(axis=1, ddof=1).sum() / (k - 1)
        own += weight**2 * float(of_runs) / k
    return max(0.0, float(np.var(whole, ddof=1)) - own)


def _spearman(asked: _Asked, numbers: Mapping[str, Array]) -> float | None:
    """Rank correlation of our rows with the published ones; None where it is no trend or all are equal."""
    if asked.claim.kind != "trend":
        return None
    (column,) = asked.contrast.columns
    ours = [float(numbers[label][:, 0].mean()) for label in asked.contrast.rows]
    theirs = [asked.published[label, column] for label in asked.contrast.rows]
    ranks = pd.DataFrame({"ours": ours, "theirs": theirs}).rank()
    flat = bool((ranks.max() == ranks.min()).any())
    return None if flat else float(ranks["ours"].corr(ranks["theirs"]))
