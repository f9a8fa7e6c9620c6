"""Which method leads, and whether that is settled: for new seeds, new images, and all columns at once.

Of M methods the one with the highest mean is the best only if it is ahead of each of the others. The p-value
of that is M - 1 times the largest one of these comparisons, which allows for having chosen it by the same
data; over the columns they are adjusted by Holm. Seeds are looked at as for the papers' claims, see
:mod:`suite.evaluation.contrasts`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from suite.evaluation.contrasts import (
    ERROR_RATE,
    Look,
    holm,
    looks_at,
    make_look,
    moderated,
    sequential_p,
)
from suite.evaluation.matches import Array
from suite.evaluation.replicates import Measure
from suite.reporting.measuring import LEAST_IMAGES, LEAST_OBJECTS, variance_over_images
from suite.reporting.methods import MethodColumn, MethodTable
from suite.runs.directory import RunDirectory

Redraw = Callable[[RunDirectory, Sequence[Measure]], Mapping[Measure, Array]]
"""A run and measures -> each measure on drawings of the images, ``(B,)``, the same drawings for every run."""


@dataclass(frozen=True)
class Standing:
    """Who leads a column.

    Attributes:
        best: The method with the highest mean.
        settled: Whether it is ahead of every other method.
        rivals: The methods that it is not settled to be ahead of, were this the only column.
    """

    best: str
    settled: bool
    rivals: tuple[str, ...]


def standings(table: MethodTable, redraw: Redraw) -> dict[MethodColumn, Standing]:
    """Who leads each column of quality; nothing is settled without two seeds that all methods have.

    Columns on fewer than :data:`LEAST_OBJECTS` objects or :data:`LEAST_IMAGES` images settle nothing either.

    Args:
        table: The methods, measured.
        redraw: Measures a run on other drawings of the evaluated images.
    """
    if len(table.methods) < 2:
        return {}
    columns = [column for column in table.columns if not column.of_machine]
    races = [_Race(column, table) for column in columns if all(one.numbers[column] for one in table.methods)]
    # Without the images' part an interval is too narrow: what even that leaves open is open, and most is.
    close = [race for race in races if race.p() <= ERROR_RATE or (race.column is columns[0] and race.led())]
    measures = {
        race.column: Measure(race.column.metric, race.column.slice, race.column.categories) for race in close
    }
    seeds = sorted({seed for race in close for seed in race.seeds})
    for method in table.methods if measures else ():
        of_seed = {seed: redraw(method.runs[seed], list(measures.values())) for seed in seeds}
        for race in close:
            race.redrawn.append(np.stack([of_seed[seed][measures[race.column]] for seed in race.seeds]))
    adjusted = holm([race.p() for race in races], len(races))
    return {
        race.column: Standing(race.best, found.p <= ERROR_RATE, race.rivals())
        for race, found in zip(races, adjusted, strict=True)
    }


@dataclass
class _Race:
    """A column's comparisons of the leading method with each of the others."""

    column: MethodColumn
    table: MethodTable
    redrawn: list[Array] = field(default_factory=list)
    """For each method ``(seeds, B)``: its numbers on drawings of the images; none before these are made."""

    def __post_init__(self) -> None:
        of_methods = [method.numbers[self.column] for method in self.table.methods]
        self.first = int(np.argmax([np.mean(list(numbers.values())) for numbers in of_methods]))
        common = sorted(set.intersection(*map(set, of_methods)))
        enough = self.column.objects >= LEAST_OBJECTS and self.column.images >= LEAST_IMAGES
        self.seeds = common if enough and len(common) > 1 else []
        self.numbers = np.array([[numbers[seed] for seed in self.seeds] for numbers in of_methods])
        # Variance over seeds of each method, and their degrees of freedom.
        self.spreads = {
            k: moderated(self.numbers[:, :k].var(axis=1, ddof=1), k - 1) for k in looks_at(len(self.seeds))
        }

    @property
    def best(self) -> str:
        return self.table.methods[self.first].label

    def p(self) -> float:
        """The p-value of "the leading method is not the best"."""
        return max(self._against().values())

    def led(self) -> bool:
        """Whether the leading method is settled to be ahead of any other one."""
        return min(self._against().values()) <= ERROR_RATE

    def rivals(self) -> tuple[str, ...]:
        return tuple(
            self.table.methods[other].label for other, p in self._against().items() if p > ERROR_RATE
        )

    def _against(self) -> dict[int, float]:
        """Index of each other method -> the p-value of the comparison, times the number of comparisons."""
        others = [other for other in range(len(self.table.methods)) if other != self.first]
        looks = {other: [self._look(other, k) for k in looks_at(len(self.seeds))] for other in others}
        return {
            other: min(1.0, len(others) * sequential_p(some, margin=0.0)) for other, some in looks.items()
        }

    def _look(self, other: int, k: int) -> Look:
        """The leading method minus another one, with the first k seeds."""
        pair = [self.first, other]
        numbers = self.numbers[:, :k]
        spreads, df = self.spreads[k]
        effect = float(numbers[self.first].mean() - numbers[other].mean())
        over_seeds = float(spreads[pair].sum()) / k
        if not self.redrawn:
            return make_look(k, effect, over_seeds, float(df), 0.0, 1.0)
        redrawn = [self.redrawn[one][:k] for one in pair]
        over_images = variance_over_images(redrawn, [1.0, -1.0])
        images_df = min(redrawn[0].shape[1], self.column.images) - 1
        return make_look(k, effect, over_seeds, float(df), over_images, images_df)
