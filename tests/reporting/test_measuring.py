"""From runs to settled claims."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from suite.evaluation.contrasts import moderated
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.measurements import Measurements
from suite.evaluation.replicates import REPLICATES, Measure, replicates
from suite.experiments.schema import Claim, Experiment
from suite.reporting.claims import MeasuredClaim, settled_together, with_interval
from suite.reporting.columns import ItemColumn
from suite.reporting.contrast import contrast_of, published_effect
from suite.reporting.inputs import ReportInput
from suite.reporting.items import build
from suite.reporting.measuring import MARGIN, _Runs, variance_over_images, with_claims
from suite.reporting.paper_numbers import paper_numbers
from suite.reporting.remarks import claim_text


def measured(report: ReportInput, **options) -> dict[str, list[MeasuredClaim]]:
    """Experiment -> its claims."""
    measurements = Measurements(GroundTruth.load(report.dataset.val.annotations))
    items = [build(given, measurements, paper_numbers(), False) for given in report.experiments]
    items = with_claims(items, report.experiments, measurements, MARGIN, **options)
    return {item.id: item.claims for item in items}


def test_resampling_starts_with_the_numbers_that_the_cells_show(make_report) -> None:
    report = make_report(ids=("ltm.table1",))
    run = report.experiments[0].runs["LTM"][0].directory
    measurements = Measurements(GroundTruth.load(report.dataset.val.annotations))
    names = ("AP", "AP50", "AP75", "APS", "APM", "APL", "NR", "NR50", "recall_before", "recall_after75")
    measures = [Measure(name) for name in names]
    measures += [Measure("AP", "objects=31+"), Measure("NR", "objects=31+")]
    categories = Measure("AP", categories=("rod", "disc"))
    found = replicates(measurements, run, dict.fromkeys([*measures, categories], 20))
    for one in measures:
        assert found[one].shape == (21,)
        assert found[one][0] == pytest.approx(measurements.value(run, one.metric, one.slice), abs=1e-6)
        assert 0 < found[one][1:].std() < 20
    by_category = measurements.category_ap(run)
    assert found[categories][0] == pytest.approx((by_category["rod"] + by_category["disc"]) / 2)
    alone = replicates(measurements, run, {measures[0]: 0})[measures[0]]
    assert alone.tolist() == found[measures[0]][:1].tolist()


def experiment(shipped: list[Experiment], identifier: str) -> Experiment:
    return next(one for one in shipped if one.id == identifier)


def test_a_trend_is_the_slope_on_the_published_rows(shipped_experiments) -> None:
    table = experiment(shipped_experiments, "ltm.table3")
    columns = [ItemColumn("AP", "AP")]
    x = dict(zip((row.label for row in table.rows), (38.4, 37.2, 36.0, 34.9), strict=True))
    published = {(row, "AP"): value for row, value in x.items()}
    contrast = contrast_of(table, Claim(text="", kind="trend", column="AP"), columns, published)
    assert published_effect(contrast, published) == pytest.approx(3.5)  # the published range
    ours = dict(zip(x, (20.0, 21.5, 17.0, 16.0), strict=True))
    slope = np.polyfit(list(x.values()), list(ours.values()), 1)[0]
    assert contrast.of(lambda row, _: ours[row]) == pytest.approx(3.5 * slope)
    assert contrast.of(lambda row, _: 11.0) == pytest.approx(0, abs=1e-9)
    assert published_effect(contrast, {**published, ("S = 40 of K = 80", "AP"): None}) is None


def test_a_slope_is_that_of_the_gains_on_the_aspect_ratios(shipped_experiments) -> None:
    figure = experiment(shipped_experiments, "ltm.fig7")
    ratios = [1.0, 1.4, 2.0, 5.0]
    columns = [ItemColumn(str(x), "AP", categories=(str(x),), aspect_ratio=x) for x in ratios]
    contrast = contrast_of(figure, figure.claims[0], columns, {})
    rng = np.random.default_rng(0)
    value = {(row, str(x)): rng.normal() for row in ("LTM", "RetinaNet") for x in ratios}
    gains = [value["LTM", str(x)] - value["RetinaNet", str(x)] for x in ratios]
    assert contrast.of(lambda row, column: value[row, column]) == pytest.approx(
        np.polyfit(ratios, gains, 1)[0]
    )


def test_what_single_runs_err_on_is_not_counted_twice() -> None:
    """Images move all runs of a method by 2, single runs by 3 more: only the first is the images' part."""
    rng = np.random.default_rng(0)
    n, k = 4000, 5
    rows = [2 * rng.normal(size=n) + 3 * rng.normal(size=(k, n)) for _ in range(2)]
    assert variance_over_images(rows, [1.0, -1.0]) == pytest.approx(2 * 2**2, rel=0.1)
    assert variance_over_images([3 * rng.normal(size=(k, n)) for _ in range(2)], [1.0, -1.0]) < 0.2
    with_gap = [values.copy() for values in rows]
    with_gap[0][2, :7] = np.nan
    assert variance_over_images(with_gap, [1.0, -1.0]) == pytest.approx(2 * 2**2, rel=0.1)


def test_a_claim_is_measured_on_seeds_and_images(make_report) -> None:
    report = make_report(ids=("ltm.table1",))
    given = report.experiments[0]
    measurements = Measurements(GroundTruth.load(report.dataset.val.annotations))
    claim = measured(report)["ltm.table1"][2]  # LTM over LTM (M+)
    values = {
        label: np.array([measurements.value(run.directory, "AP") for run in runs])
        for label, runs in given.runs.items()
    }
    assert (claim.expected, claim.published, claim.seeds) == ("positive", pytest.approx(0.5), (0, 1, 2))
    assert claim.effect == pytest.approx(values["LTM"].mean() - values["LTM (M+)"].mean())
    assert [look.seeds for look in claim.looks] == [2, 3]
    spreads, df = moderated(np.array([one.var(ddof=1) for one in values.values()]), 2)
    by_row = dict(zip(values, spreads, strict=True))
    expected = math.sqrt((by_row["LTM"] + by_row["LTM (M+)"]) / 3)
    assert claim.now.seed_error == pytest.approx(expected)
    assert claim.now.image_error >= 0  # single runs' errors are independent here
    assert df / 2 < claim.now.df <= df + REPLICATES
    low, high = claim.interval
    assert low < claim.effect < high
    assert claim.adjusted[0] < low < high < claim.adjusted[1]
    clearer = sum(other.p < claim.p for other in measured(report)["ltm.table1"])
    assert claim.adjusted_p >= 0.999 * (3 - clearer) * claim.p  # Holm's step, or that of a clearer claim
    assert claim.outcome == "as published" and claim.settled
    assert claim_text(claim).endswith(": settled as published: above 0")


def test_other_claims_make_it_harder_to_settle_one(make_report) -> None:
    report = make_report(ids=("ltm.table1",))
    few, many = (measured(report, family=n)["ltm.table1"][0] for n in (3, 300))
    assert many.adjusted[0] < few.adjusted[0] and many.adjusted_p > few.adjusted_p
    settled = measured(report, others=[1e-9] * 10)["ltm.table1"][0]
    assert settled.adjusted_p >= few.adjusted_p


def test_only_common_seeds_count_and_missing_ones_do_not_hinder(make_report) -> None:
    missing = {("ltm", 1): ("failed", "NaN"), ("ltm_positive", 0): ("new", "")}
    first, k_anchors, third = measured(make_report(ids=("ltm.table1",), missing=missing))["ltm.table1"]
    assert first.seeds == (0, 2) and [look.seeds for look in first.looks] == [2]
    assert k_anchors.seeds == (0, 1, 2)
    assert third.seeds == (2,) and third.outcome == "one seed" and third.p is None
    assert claim_text(third).endswith("settles nothing: one seed")
    all_missing = {("ltm", seed): ("new", "") for seed in range(3)}
    claim = measured(make_report(ids=("ltm.table1",), missing=all_missing))["ltm.table1"][0]
    assert (claim.outcome, claim.effect, claim.reason) == ("not measured", None, "LTM: not run")


def test_few_objects_settle_nothing(make_report) -> None:
    (claim,) = measured(make_report(ids=("ltm.table2",)))["ltm.table2"]
    assert claim.outcome == "too few objects" and claim.p is None and claim.effect is not None
    assert "dense rests on 136 objects on 5 images; at least 50 objects on 10 images" in claim.reason
    some = {("retinanet", 1): ("new", ""), ("ltm", 1): ("new", "")}  # the cells are empty, the claim is not
    (claim,) = measured(make_report(ids=("ltm.table2",), missing=some))["ltm.table2"]
    assert claim.outcome == "too few objects" and claim.seeds == (0, 2)


def test_an_unmeasurable_claim_is_none_of_the_family(make_report) -> None:
    report = make_report(ids=("ltm.table1",))
    given = replace(report.experiments[0], unmeasurable={"RetinaNet (K anchors)": "not measurable here"})
    runs = {label: list(one) if label != "RetinaNet (K anchors)" else [] for label, one in given.runs.items()}
    with_two = measured(replace(report, experiments=[replace(given, runs=runs)]))["ltm.table1"]
    assert with_two[1].outcome == "not measured"
    assert with_two[1].reason.startswith("RetinaNet (K anchors): not measurable here")
    worst = max(with_two[0].p, with_two[2].p)
    assert max(with_two[0].adjusted_p, with_two[2].adjusted_p) <= 2 * worst + 1e-12


def test_a_margin_of_its_own_decides(make_report) -> None:
    report = make_report(ids=("ltm.table1",))
    given = report.experiments[0]
    claims = [claim.model_copy(update={"margin": 1e6}) for claim in given.experiment.claims]
    wide = replace(given, experiment=given.experiment.model_copy(update={"claims": claims}))
    found = measured(replace(report, experiments=[wide]))["ltm.table1"]
    assert {claim.decision for claim in found} == {"no difference"}
    assert [claim.outcome for claim in found] == ["not as published", "as published", "not as published"]
    assert claim_text(found[1]).endswith("settled as published: a difference of less than 1e+06")


def test_one_place_decides_what_is_settled() -> None:
    claim = MeasuredClaim("a.b", "t", "gain", "r", "AP", "negative", 1.0, None, effect=2.0)
    assert settled_together([claim], 1) == [claim] == [with_interval(claim)]  # nothing was measured


def test_the_papers_conclusions_are_declared(shipped_experiments) -> None:
    claims = [claim for one in shipped_experiments for claim in one.claims]
    assert 20 <= len(claims) <= 40
    assert len({claim.text for claim in claims}) == len(claims)
    assert {claim.kind for claim in claims} == {"gain", "gain_rises", "slope", "trend"}
    papers = {one.paper for one in shipped_experiments if one.claims}
    assert papers == {"freeanchor", "ltm", "paa", "alrp"}
    assert all(claim.margin is None or claim.kind == "slope" for claim in claims)  # a unit of its own


def test_spreads_are_those_of_the_seeds_that_all_detectors_have() -> None:
    """Else a session that chooses who is given more seeds would choose small spreads."""
    values = {"a0": 1.0, "a1": 2.0, "a2": 9.0, "b0": 3.0, "b1": 3.5, "c0": 1.0, "c1": 1.2}
    runs = {name: SimpleNamespace(run_id=name, seed=int(name[1]), directory=name) for name in values}
    rows = [[run for name, run in runs.items() if name[0] == letter] for letter in "abc"]
    found = _Runs([SimpleNamespace(runs=dict(enumerate(rows)))], None)
    found.numbers = lambda run, measures: np.array([values[run.run_id]])
    before = found.variances([rows[0]], {})
    assert before == found.variances([rows[0][:2]], {})
    values["a2"] = -50.0
    assert found.variances([rows[0]], {}) == before
    values["a1"] = -50.0
    assert found.variances([rows[0]], {}) != before
