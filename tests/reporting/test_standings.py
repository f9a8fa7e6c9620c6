"""Who leads a column is settled for new seeds and new images, and rarely wrongly."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from suite.reporting.methods import Method, MethodColumn, MethodTable
from suite.reporting.standings import Redraw, standings
from suite.runs.directory import RunDirectory

AP = MethodColumn("", "AP", "%", "AP", images=500, objects=4000)
DENSE = MethodColumn("", "dense", "%", "AP", "crowdedness=dense", images=90, objects=1500)
LARGE = MethodColumn("", "large", "%", "APL", images=500, objects=40)
TIME = MethodColumn("", "training of a run", "s", "train_hours")
LEVELS = {"LTM": 30.0, "PAA": 28.0, "RetinaNet": 25.0}


def table(numbers: dict[str, dict[MethodColumn, Sequence[float]]]) -> MethodTable:
    methods = []
    for label, of_columns in numbers.items():
        seeds = range(max(len(values) for values in of_columns.values()))
        runs = {seed: RunDirectory(Path(f"{label}-s{seed}")) for seed in seeds}
        by_column = {column: dict(enumerate(values)) for column, values in of_columns.items()}
        methods.append(Method(label, runs, by_column, {}))
    return MethodTable(list(methods[0].numbers), methods)


def around(levels: dict[str, float], columns: Sequence[MethodColumn], seeds: int, spread: float = 0.2):
    offsets = spread * np.array([-1.0, 0.4, 0.6, -0.5, 0.5])[:seeds]
    return table({label: {column: level + offsets for column in columns} for label, level in levels.items()})


def images(own: float, shared: float = 0.0) -> Redraw:
    """Drawings of images that move every method's runs by themselves, and all runs alike."""
    alike = np.random.default_rng(0).normal(0, shared, 200)

    def redraw(run, measures):
        rng = np.random.default_rng(list(run.path.name.partition("-s")[0].encode()))
        return dict.fromkeys(measures, 30 + alike + rng.normal(0, own, 200))

    return redraw


def test_a_method_ahead_of_all_others_is_settled_as_the_best() -> None:
    found = standings(around(LEVELS, [AP, DENSE, TIME], 5), images(own=0.2))
    assert set(found) == {AP, DENSE}, "no method leads in time"
    assert found[AP].best == "LTM" and found[AP].settled and found[AP].rivals == ()


def test_a_rival_within_the_spread_over_seeds_is_named() -> None:
    found = standings(around({**LEVELS, "PAA": 29.8}, [AP], 5, spread=0.5), images(own=0.1))[AP]
    assert (found.best, found.settled, found.rivals) == ("LTM", False, ("PAA",))


def test_images_count_as_far_as_methods_differ_on_them() -> None:
    given = around(LEVELS, [AP], 5)
    assert not standings(given, images(own=1.5))[AP].settled
    assert standings(given, images(own=0.2, shared=5.0))[AP].settled, "what is hard for all is no difference"


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_settle_nothing(seeds: int) -> None:
    assert not standings(around({**LEVELS, "PAA": 29.5}, [AP], seeds), images(own=0.2))[AP].settled


def test_images_are_drawn_only_where_they_can_decide() -> None:
    drawn = []

    def redraw(run, measures):
        drawn.append((run.path.name, [one.slice for one in measures]))
        return images(own=0.2)(run, measures)

    equal = dict.fromkeys(LEVELS, 30.0)
    assert not standings(around(equal, [AP, DENSE], 5), redraw)[AP].settled
    assert drawn == []
    standings(around({**LEVELS, "PAA": 30.0}, [AP, DENSE], 3), redraw)
    assert {tuple(slices) for _, slices in drawn} == {(None,)}, "who the rivals are is said of AP alone"
    assert len(drawn) == 9


def test_few_objects_settle_nothing() -> None:
    found = standings(around(LEVELS, [AP, LARGE], 5), images(own=0.2))
    assert found[AP].settled and not found[LARGE].settled


def test_a_method_without_a_number_leaves_its_column_open() -> None:
    given = around(LEVELS, [AP, DENSE], 5)
    given.methods[2].numbers[DENSE].clear()
    assert set(standings(given, images(own=0.2))) == {AP}
    assert standings(table({"LTM": {AP: [1, 2]}}), images(own=0.2)) == {}


def test_of_two_equal_methods_few_are_settled_as_the_best() -> None:
    """Of 100 tables with 4 columns 5 % may name one of two equal ones; 3 standard errors more."""
    rng = np.random.default_rng(1)
    columns = [MethodColumn("", str(index), "%", "AP", images=500, objects=4000) for index in range(4)]
    levels = [30.0, 30.0, 20.0, 20.0]
    wrong = 0
    for _ in range(100):
        numbers = {
            f"method {index}": {one: rng.normal(level, 0.6, 5) for one in columns}
            for index, level in enumerate(levels)
        }
        wrong += any(one.settled for one in standings(table(numbers), images(own=0.01)).values())
    assert wrong <= 11
