"""Which runs are chosen: made-up claims, no files, no clocks."""

import itertools

import pytest

from suite.settling.choice import Prospect, Training, choose, first_of, fitting, wall

HOUR = 3600.0


def run(name: str, seconds: float = 600, share: float = 0.5) -> Training:
    return Training(name, share, seconds)


def prospect(
    claim: int, chance: float, *runs: Training, seeds: int = 5, first: int | None = None
) -> Prospect:
    """A prospect of some runs, all of them or the first few needed for the next look."""
    return Prospect(claim, seeds, chance, frozenset(runs[:first]), frozenset(runs))


def test_the_cheaper_of_two_equal_chances_comes_first():
    long, short = prospect(0, 0.5, run("long", 1200, 1)), prospect(1, 0.5, run("short", 300, 1))
    assert choose([long, short], HOUR) == [short]


def test_claims_that_share_runs_are_settled_together():
    base = [run(f"base{seed}") for seed in range(4)]
    sharing = [prospect(i, 0.4, *base, run(f"own{i}")) for i in range(3)]
    alone = prospect(3, 0.5, *(run(f"alone{seed}") for seed in range(5)))
    chosen = choose([alone, *sharing], HOUR * 10)
    assert sorted(one.claim for one in chosen) == [0, 1, 2]
    assert len(first_of(chosen)) == 4 + 3


def test_the_set_is_the_best_of_all_sets_where_claims_share_a_baseline():
    base = [run("base0", share=1), run("base1", share=1)]
    chances = (0.9, 0.5, 0.3, 0.15)
    found = [prospect(i, p, *base, run(f"own{i}", share=1)) for i, p in enumerate(chances)]

    def rate(some):
        runs = frozenset().union(*(one.runs for one in some))
        return sum(one.chance for one in some) / sum(one.share * one.seconds for one in runs)

    sets = [some for n in range(1, 5) for some in itertools.combinations(found, n)]
    assert rate(choose(found, HOUR * 10)) == pytest.approx(max(map(rate, sets)))


def test_the_machine_is_kept_busy_with_the_next_best():
    found = [prospect(i, p, run(f"r{i}", share=0.25)) for i, p in enumerate((0.9, 0.2, 0.3, 0.4, 0.5))]
    assert [one.claim for one in choose(found, HOUR)] == [0, 4, 3, 2]
    whole = [prospect(i, p, run(f"r{i}", share=1)) for i, p in enumerate((0.9, 0.2, 0.3))]
    assert [one.claim for one in choose(whole, HOUR)] == [0]


def test_nothing_is_chosen_that_exceeds_the_time():
    cheap, dear = prospect(0, 0.2, run("a", 600, 1)), prospect(1, 0.9, run("b", 700, 1))
    assert choose([cheap, dear], 650) == [cheap]
    assert choose([cheap, dear], 599) == []
    both = [prospect(0, 0.5, run("a", 600, 0.5)), prospect(1, 0.5, run("b", 600, 0.5))]
    assert len(choose(both, 600)) == 2  # side by side


def test_what_is_not_promising_is_left_alone():
    assert choose([prospect(0, 0.09, run("a"))], HOUR) == []
    assert choose([], HOUR) == []


def test_a_far_look_is_aimed_at_but_only_the_next_one_is_trained_for():
    seeds = [run(f"s{seed}", 600, 0.5) for seed in range(6)]
    near, far = prospect(0, 0.01, *seeds[:2]), prospect(0, 0.9, *seeds, seeds=8, first=2)
    assert choose([near, far], HOUR) == [far]
    assert first_of([far]) == set(seeds[:2])
    assert choose([near, far], 1700) == []  # the six take half an hour


def test_groups_go_whole_or_not_at_all():
    a, b, c = run("a", 600, 1), run("b", 600, 1), run("c", 300, 1)
    assert fitting([{a, b}, {c}], 1000) == [c]
    assert set(fitting([{a}, {a, b}, {c}], 1200)) == {a, b}
    assert wall([]) == 0 and wall([run("x", 600, 0.25)]) == 600
