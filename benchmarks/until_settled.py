"""Claims settled per hour of training: the suite's choice of runs against equal seeds for all detectors.

Whole reports of known truth are simulated, with the claims of ``experiments/`` and the spreads of
``report_simulation.py``. Every run takes equally long, two run side by side. A session begins with two seeds
of every detector and then trains what :mod:`suite.settling` chooses; the plain way trains as many equal seeds
for every detector as the same hours allow. Both are settled by the suite's own rule.

    python benchmarks/until_settled.py --reports 100
"""

import argparse
import json
from dataclasses import dataclass, field

import numpy as np
from report_simulation import (
    CORRELATION,
    IMAGE_DF,
    IMAGE_SPREAD,
    PROJECT,
    SEED_SPREAD,
    Array,
    Claims,
    shipped_claims,
    truth_of,
)

from suite.evaluation.contrasts import (
    LOOKS,
    Look,
    adjusted_interval,
    decide,
    holm,
    make_look,
    moderated,
    sequential_p,
)
from suite.experiments.schema import load_experiments
from suite.reporting.measuring import MARGIN
from suite.settling.choice import Prospect, Training, choose, first_of, wall
from suite.settling.forecast import chance

RUN_SECONDS = 480.0
"""Of a run on one of the machine's two cores: that of preset midi."""
SHARE = 0.5
MOST_SEEDS = 20
FIRST = min(LOOKS)
SCENARIOS = ("published", "mixed", "none")


@dataclass
class Report:
    """A simulated report. C claims, D detectors, M measures.

    Attributes:
        claims: What is claimed.
        truth: ``(C,)`` true effects.
        numbers: ``(M, D, S)`` of every detector and seed, measured on the same images.
        image_variance: ``(C,)`` estimated variance of the effects over images.
        counts: ``(D,)`` seeds that are trained.
        wrong: Whether any claim was ever settled falsely.
    """

    claims: Claims
    truth: Array
    numbers: Array
    image_variance: Array
    counts: Array
    wrong: bool = False
    _variances: dict[int, tuple[Array, Array]] = field(default_factory=dict)

    def seeds_of(self, claim: int) -> int:
        """Seeds that all detectors of a claim have."""
        return int(self.counts[self.claims.weights[claim] != 0].min())

    def look(self, claim: int, k: int) -> Look:
        """A claim with its first k seeds."""
        stage = min(k, int(self.counts.min()))  # the seeds that all detectors have
        if stage not in self._variances:
            spread = self.numbers[:, :, :stage].var(axis=2, ddof=1)
            self._variances[stage] = moderated(spread, stage - 1)
        better, df = self._variances[stage]
        weights, measure = self.claims.weights[claim], self.claims.measure[claim]
        used = weights != 0
        effect = float(weights[used] @ self.numbers[measure, used, :k].mean(axis=1))
        effect += float(self.truth[claim])
        variance = float((weights[used] ** 2 * better[measure, used]).sum()) / k
        return make_look(k, effect, variance, float(df[measure]), self.image_variance[claim], IMAGE_DF)

    def settle(self) -> tuple[list[bool], list[float]]:
        """Whether each claim is settled, and the level that decides it."""
        looks = [
            [self.look(claim, k) for k in LOOKS if k <= self.seeds_of(claim)]
            for claim in range(len(self.truth))
        ]
        within = holm([sequential_p(one, MARGIN) for one in looks], len(looks))
        decisions = [
            decide(adjusted_interval(one, held.level), MARGIN)
            for one, held in zip(looks, within, strict=True)
        ]
        for decision, truth in zip(decisions, self.truth, strict=True):
            false = {"positive": truth <= 0, "negative": truth >= 0, "no difference": abs(truth) >= MARGIN}
            self.wrong |= bool(false.get(decision, False))
        return [decision != "open" for decision in decisions], [held.level for held in within]

    def missing(self, claim: int, k: int) -> frozenset[Training]:
        """The runs that a claim lacks for k seeds."""
        return frozenset(
            Training(f"{detector}-{seed}", SHARE, RUN_SECONDS)
            for detector in np.flatnonzero(self.claims.weights[claim])
            for seed in range(int(self.counts[detector]), k)
        )

    def prospects(self, settled: list[bool], levels: list[float]) -> list[Prospect]:
        """As :func:`suite.settling.prospects.prospects_of` finds them."""
        found = []
        for claim, level in enumerate(levels):
            have = self.seeds_of(claim)
            ahead = [k for k in LOOKS if k > have]
            if settled[claim] or not ahead:
                continue
            now, first = self.look(claim, have), self.missing(claim, ahead[0])
            for k in ahead:
                likely = chance(now, k, MARGIN, level)
                found.append(Prospect(claim, k, likely, first, self.missing(claim, k)))
        return found


def simulated(claims: Claims, scenario: str, rng: np.random.Generator) -> Report:
    """A report of known truth, nothing trained."""
    measures, detectors = len(claims.kinds), claims.weights.shape[1]
    truth = truth_of(scenario, claims, 1, rng)[0]
    spread = np.array([SEED_SPREAD[kind] for kind in claims.kinds])[:, None, None]
    image_sd = np.array([IMAGE_SPREAD[kind] for kind in claims.kinds]) * np.sqrt(1 - CORRELATION)
    on_images = rng.normal(size=(measures, detectors, 1)) * image_sd[:, None, None]
    numbers = rng.normal(size=(measures, detectors, MOST_SEEDS)) * spread + on_images
    variance = image_sd[claims.measure] ** 2 * (claims.weights**2).sum(axis=1)
    estimated = variance * rng.chisquare(IMAGE_DF, len(truth)) / IMAGE_DF
    return Report(claims, truth, numbers, estimated, np.zeros(detectors, dtype=int))


@dataclass
class Tally:
    """What sessions came to: one entry a report, and one a prediction."""

    settled: list[int] = field(default_factory=list)
    hours: list[float] = field(default_factory=list)
    wrong: list[bool] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    came: list[bool] = field(default_factory=list)


def session(report: Report, budget: float, tally: Tally) -> None:
    """Train as the suite does until the budget, in seconds, is spent."""
    report.counts[:] = FIRST
    spent = RUN_SECONDS * SHARE * FIRST * len(report.counts)
    settled, levels = report.settle()
    while True:
        chosen = choose(report.prospects(settled, levels), budget - spent)
        if not chosen:
            break
        runs = first_of(chosen)
        spent += wall(runs)
        for detector, seed in (map(int, run.run_id.split("-")) for run in runs):
            report.counts[detector] = max(report.counts[detector], seed + 1)
        settled, levels = report.settle()
        for one in chosen:
            if one.first == one.runs:
                tally.predicted.append(one.chance)
                tally.came.append(settled[one.claim])
    tally.settled.append(sum(settled))
    tally.hours.append(spent / 3600)
    tally.wrong.append(report.wrong)


def equal_seeds(report: Report, seeds: int, tally: Tally) -> None:
    """Train equal seeds of every detector, and look whenever the rule does."""
    settled = [False]
    for k in [look for look in LOOKS if look <= seeds]:
        report.counts[:] = k
        settled, _ = report.settle()
    tally.settled.append(sum(settled))
    tally.hours.append(RUN_SECONDS * SHARE * seeds * len(report.counts) / 3600)
    tally.wrong.append(report.wrong)


def main() -> None:
    """Simulate both ways, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=100)
    options = parser.parse_args()
    claims = shipped_claims(load_experiments(PROJECT / "experiments"))
    detectors = claims.weights.shape[1]
    result: dict[str, object] = {
        "claims": len(claims.published), "detectors": detectors, "reports": options.reports,
        "run_minutes": RUN_SECONDS / 60,
    }  # fmt: skip
    every = Tally()
    for scenario in SCENARIOS:
        for seeds in (3, 5, 8):
            budget = RUN_SECONDS * SHARE * seeds * detectors
            ours, plain = Tally(predicted=every.predicted, came=every.came), Tally()
            for number in range(options.reports):
                session(simulated(claims, scenario, np.random.default_rng(number)), budget, ours)
                equal_seeds(simulated(claims, scenario, np.random.default_rng(number)), seeds, plain)
            for name, tally in (("until settled", ours), ("equal seeds", plain)):
                result[f"{scenario}, {seeds} seeds' hours, {name}"] = {
                    "settled": round(float(np.mean(tally.settled)), 2),
                    "hours": round(float(np.mean(tally.hours)), 2),
                    "settled_per_hour": round(sum(tally.settled) / sum(tally.hours), 3),
                    "falsely": round(float(np.mean(tally.wrong)), 3),
                }
    predicted, came = np.array(every.predicted), np.array(every.came)
    result["predictions"] = {
        f"{low:.0%} to {low + 0.2:.0%}": {
            "number": int(inside.sum()),
            "predicted": round(float(predicted[inside].mean()), 3),
            "came_true": round(float(came[inside].mean()), 3),
        }
        for low in (0.0, 0.2, 0.4, 0.6, 0.8)
        if (inside := (predicted >= low) & (predicted < low + 0.2 + (low == 0.8))).any()
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
