"""How many reports settle a claim falsely, and how many claims they settle: whole reports of known truth.

A simulated report has the claims of ``experiments/``: the same detectors stand in several of them, baselines
are shared. A detector's numbers vary over seeds (standard deviation 0.6 AP on all images, more on slices) and
over images (0.4 AP, correlated over detectors), which stay the same however many seeds are trained. The
suite's own rule settles the claims, at every number of seeds at which it looks. Seeds are either trained for
all detectors, or only for those of claims that are still open.

    python benchmarks/report_simulation.py --reports 2000
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.evaluation.contrasts import (
    ERROR_RATE,
    LOOKS,
    edge_levels,
    holm_adjusted,
    moderated,
    settling_level,
)
from suite.experiments.schema import Claim, Experiment, load_experiments
from suite.reporting.columns import ItemColumn, columns_of, published_number
from suite.reporting.contrast import contrast_of, published_effect
from suite.reporting.measuring import MARGIN
from suite.reporting.paper_numbers import paper_numbers

Array = npt.NDArray[Any]

PROJECT = Path(__file__).resolve().parents[1]
SEED_SPREAD = {"gain": 0.6, "trend": 0.6, "gain_rises": 1.2, "slope": 0.5, "slice": 1.0}
IMAGE_SPREAD = {"gain": 0.4, "trend": 0.4, "gain_rises": 0.8, "slope": 0.3, "slice": 0.7}
"""Standard deviations of a detector's number over seeds, and over images, by what is measured."""
CORRELATION = 0.75
"""Of two detectors over images."""
IMAGE_DF = 100
UNPUBLISHED = 1.5
"""Effect of a claim without published numbers, where effects are as published."""
SCENARIOS = ("none", "published", "mixed", "on the margin")


@dataclass(frozen=True)
class Claims:
    """The claims of a report. C claims, D detectors, M measures.

    Attributes:
        weights: ``(C, D)`` of the detectors.
        measure: ``(C,)`` index of what is measured.
        kinds: ``(M,)`` kind of each measure, a key of :data:`SEED_SPREAD`.
        published: ``(C,)`` published effects.
    """

    weights: Array
    measure: Array
    kinds: list[str]
    published: Array


def shipped_claims(experiments: Iterable[Experiment]) -> Claims:
    """The claims that experiments declare."""
    detectors: dict[Any, int] = {}
    measures: dict[Any, int] = {}
    rows, of_measure, kinds, effects = [], [], [], []
    for experiment in experiments:
        names = {row.label: (row.method, str(sorted(row.options.items()))) for row in experiment.rows}
        for claim in experiment.claims:
            weights, columns, effect = _contrast(experiment, claim)
            kind = "slice" if claim.kind == "gain" and columns not in ("AP", "NR") else claim.kind
            if (place := measures.setdefault(columns, len(measures))) == len(kinds):
                kinds.append(kind)
            rows.append(
                {
                    detectors.setdefault(names[label], len(detectors)): weight
                    for label, weight in weights.items()
                }
            )
            of_measure.append(place)
            effects.append(UNPUBLISHED if effect is None else effect)
    matrix = np.zeros((len(rows), len(detectors)))
    for index, row in enumerate(rows):
        matrix[index, list(row)] = list(row.values())
    return Claims(matrix, np.array(of_measure), kinds, np.array(effects))


def _contrast(experiment: Experiment, claim: Claim) -> tuple[Mapping[str, float], Any, float | None]:
    """Weights of rows, what is measured, and the published effect."""
    columns = columns_of(experiment)
    if claim.kind == "slope":  # its categories follow from a dataset
        columns = [ItemColumn(str(x), "AP", categories=("x",), aspect_ratio=x) for x in (1.0, 2.0)]
    known = {
        (row.label, column.label): published_number(experiment, row, column, paper_numbers()).value
        for row in experiment.rows
        for column in columns
    }
    contrast = contrast_of(experiment, claim, columns, known)
    by_label = {column.label: column for column in columns}
    measured = [(by_label[label], round(weight, 6)) for label, weight in contrast.columns.items()]
    if len(measured) == 1 and not measured[0][0].slice and not measured[0][0].categories:
        return contrast.rows, measured[0][0].metric, published_effect(contrast, known)
    key = tuple((one.metric, one.slice, one.categories, one.label, weight) for one, weight in measured)
    return contrast.rows, key, published_effect(contrast, known)


def truth_of(scenario: str, claims: Claims, reports: int, rng: np.random.Generator) -> Array:
    """``(R, C)`` true effects. Those of claims that share detectors need not add up: the rule never adds."""
    shape = (reports, len(claims.published))
    if scenario == "none":
        return np.zeros(shape)
    if scenario == "published":
        return np.broadcast_to(claims.published, shape)
    if scenario == "on the margin":  # the hardest for "no difference": it is false, but only just
        return MARGIN * rng.choice([-1.0, 1.0], shape)
    small = rng.choice([-0.2, 0.2, 0.1, -0.1], shape)
    published = np.broadcast_to(claims.published, shape)
    return np.select([rng.random(shape) < 0.4, rng.random(shape) < 0.5], [published, small], 0.0)


def simulate(
    claims: Claims,
    scenario: str,
    reports: int,
    seeds: int,
    until_settled: bool = False,
    twofold: bool = False,
    looks: Mapping[int, float] = LOOKS,
    seed: int = 0,
) -> dict[str, float]:
    """Settle the claims of many reports.

    Args:
        claims: What is claimed.
        scenario: One of :data:`SCENARIOS`.
        reports: Number of reports.
        seeds: Most seeds of a detector.
        until_settled: Train further seeds only for detectors of open claims.
        twofold: Half of the detectors spread twice as much over seeds as the others.
        looks: Number of seeds -> share of the error rate.
        seed: Of the simulation.

    Returns:
        ``falsely``: share of reports with any false claim; ``settled`` and ``right``: share of claims
        settled, and settled rightly; ``runs``: mean number of runs of a report.
    """
    rng = np.random.default_rng(seed)
    n_claims, n_detectors = claims.weights.shape
    truth = truth_of(scenario, claims, reports, rng)
    factor = np.ones(n_detectors)
    if twofold:
        factor = np.sqrt(0.4) * np.where(rng.random(n_detectors) < 0.5, 1.0, 2.0)  # the same mean variance
    n_measures = len(claims.kinds)
    spread = np.array([SEED_SPREAD[kind] for kind in claims.kinds])[:, None] * factor
    # What all detectors share cancels in a contrast.
    image_sd = np.array([IMAGE_SPREAD[kind] for kind in claims.kinds]) * np.sqrt(1 - CORRELATION)
    on_images = rng.normal(size=(reports, n_measures, n_detectors)) * image_sd[:, None]
    image_variance = image_sd[claims.measure] ** 2 * (claims.weights**2).sum(axis=1)
    estimated = image_variance * rng.chisquare(IMAGE_DF, (reports, n_claims)) / IMAGE_DF
    fixed = truth + np.einsum("rcd,cd->rc", on_images[:, claims.measure], claims.weights)

    uses = claims.weights != 0
    total, squares = (np.zeros((reports, n_measures, n_detectors)) for _ in range(2))
    trained = np.ones((reports, n_detectors), dtype=bool)
    counts = np.zeros((reports, n_detectors))
    levels = np.full((4, reports, n_claims), np.inf)
    settled = np.zeros((reports, n_claims), dtype=bool)
    wrong = np.zeros((reports, n_claims), dtype=bool)
    for k in range(1, seeds + 1):
        drawn = rng.normal(size=total.shape) * spread
        total += drawn
        squares += drawn**2
        counts += trained
        if k in looks:
            variances = (squares - total**2 / k) / (k - 1)
            better, df = moderated(np.where(trained[:, None], variances, np.nan), k - 1)
            of_rows = np.nan_to_num(better[:, claims.measure])
            seed_variance = np.einsum("rcd,cd->rc", of_rows, claims.weights**2) / k
            seed_df = df[:, claims.measure]
            error2 = seed_variance + estimated
            both_df = error2**2 / (seed_variance**2 / seed_df + estimated**2 / IMAGE_DF)
            effect = fixed + np.einsum("rcd,cd->rc", total[:, claims.measure], claims.weights) / k
            has = ~(~trained[:, None] & uses).any(axis=2)
            found = edge_levels(effect, np.sqrt(error2), both_df, MARGIN) / looks[k]
            levels = np.where(has, np.minimum(levels, found), levels)
            settled, wrong = _decided(levels, truth, wrong)
        if until_settled:
            trained = trained & (~settled[:, :, None] & uses).any(axis=1)
            if not trained.any():
                break
    right = settled & ~wrong
    return {
        "falsely": float(wrong.any(axis=1).mean()),
        "settled": float(settled.mean()),
        "right": float(right.mean()),
        "runs": float(counts.sum(axis=1).mean()),
    }


def _decided(levels: Array, truth: Array, wrong: Array) -> tuple[Array, Array]:
    """Which claims are settled, and which of all were ever settled falsely: ``(R, C)`` each."""
    family = truth.shape[1]
    adjusted = holm_adjusted(settling_level(levels), family)
    settled = adjusted <= ERROR_RATE
    at = ERROR_RATE / (family - np.minimum(_ranks(settling_level(levels)), settled.sum(axis=1)[:, None]))
    above, below, under, over = levels <= at
    none = under & over
    false = (none & (np.abs(truth) >= MARGIN)) | (~none & ((above & (truth <= 0)) | (below & (truth >= 0))))
    return settled, wrong | (settled & false)


def _ranks(values: Array) -> Array:
    return values.argsort(axis=-1, kind="stable").argsort(axis=-1)


def main() -> None:
    """Simulate every scenario, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=2000)
    options = parser.parse_args()
    claims = shipped_claims(load_experiments(PROJECT / "experiments"))
    result: dict[str, Any] = {"claims": len(claims.published), "detectors": claims.weights.shape[1]}
    for scenario in SCENARIOS:
        for twofold in (False, True):
            for name, seeds, until in (("3 seeds", 3, False), ("5 seeds", 5, False), ("10 seeds", 10, False),
                                       ("until settled, at most 10", 10, True)):  # fmt: skip
                found = simulate(claims, scenario, options.reports, seeds, until, twofold)
                title = f"{scenario}, {'spreads differ twofold' if twofold else 'equal spreads'}, {name}"
                result[title] = {key: round(value, 3 if key != "runs" else 1) for key, value in found.items()}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
