"""The plot of the papers' claims, and the sentences about them."""

from dataclasses import asdict, replace

import pytest

from suite.reporting.cells import rounded
from suite.reporting.claims import MeasuredClaim
from suite.reporting.forest import Axis, Span, claims_in, draw, forest, in_words

CLAIM = MeasuredClaim(
    "ltm.table2", "LTM gains where objects overlap", "gain", "LTM", "AP", "positive", 1.0, 2.2,
    effect=1.84, interval=(0.5, 3.18), adjusted=(-0.2, 3.9), outcome="open",
)  # fmt: skip
SETTLED = replace(CLAIM, outcome="as published", adjusted=(0.2, 3.4))
OPPOSITE = replace(CLAIM, outcome="not as published", effect=-2.0, interval=(-3, -1), adjusted=(-3.5, -0.5))
ONE_SEED = replace(CLAIM, outcome="one seed", interval=None, adjusted=None, published=None)
UNMEASURED = replace(ONE_SEED, outcome="not measured", effect=None)


def test_claims_come_back_from_their_file_and_old_ones_count_as_none() -> None:
    assert claims_in({"claims": [rounded(asdict(CLAIM))]}) == [CLAIM]
    assert claims_in({"claims": [{"text": "It gains", "measured": None, "outcome": "open"}]}) == []
    assert claims_in({}) == []


def test_a_line_has_its_numbers_and_places() -> None:
    plot = forest([("LTM", [CLAIM, UNMEASURED]), ("PAA", [UNMEASURED])])
    assert [paper for paper, _ in plot.groups] == ["LTM"]
    assert plot.missing == 2
    (line,) = plot.lines
    assert (line.text, line.ours, line.paper) == (CLAIM.text, "+1.8 [+0.5, +3.2]", "+2.2")
    assert line.interval is not None and line.published is not None
    assert line.interval.start < line.effect < line.published < line.interval.end
    slope = forest([("LTM", [replace(CLAIM, unit="AP per unit of aspect ratio", published=None)])]).lines[0]
    assert slope.text.endswith("(AP per unit of aspect ratio)")
    assert (slope.ours, slope.paper) == ("+1.84 [+0.50, +3.18]", "")


def test_the_axis_shows_every_effect_and_cuts_wide_intervals() -> None:
    wide = replace(CLAIM, effect=0.5, interval=(-90.0, 91.0), adjusted=(-200.0, 201.0))
    claims = [CLAIM, OPPOSITE, ONE_SEED, wide, replace(CLAIM, published=7.0)]
    axis = Axis.over(claims)
    assert axis.low < -2 and axis.high > 7
    assert axis.high < 90, "one wide interval does not press the others together"
    assert 0 in axis.ticks and 3 <= len(axis.ticks) <= 7
    line = forest([("LTM", claims)]).lines[3]
    assert line.interval == line.adjusted == Span(0.0, 1.0, cut_low=True, cut_high=True)


def test_an_interval_that_the_looks_have_not_in_common_is_not_drawn() -> None:
    assert forest([("LTM", [replace(CLAIM, adjusted=(2.0, 1.0))])]).lines[0].adjusted is None


@pytest.mark.parametrize(
    ("claims", "sentences"),
    [
        ([], []),
        ([SETTLED], ["Of the papers' 1 claim that was measured, 1 is settled: 1 as published, 0 not; at most "
                     "one report like this in twenty settles any wrongly."]),
        ([CLAIM, CLAIM, ONE_SEED], ["Of the papers' 3 claims that were measured, none is settled.",
                                    "Still open: 2 need more seeds or images, 1 needs more than one seed."]),
    ],
)  # fmt: skip
def test_sentences_say_what_is_settled_and_what_is_missing(claims, sentences) -> None:
    assert in_words(claims) == sentences


def test_the_picture_has_every_claim() -> None:
    plot = forest([("LTM", [CLAIM, SETTLED]), ("PAA", [OPPOSITE, ONE_SEED])])
    files = draw(plot, "preset mini")
    assert set(files) == {"claims.png", "claims.svg"}
    assert draw(forest([("LTM", [UNMEASURED])]), "preset mini") == {}
