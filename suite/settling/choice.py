"""Which runs settle most per minute of training. Pure: no files, no clocks."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from suite.workflow import wall_seconds

LEAST_CHANCE = 0.1
"""Claims with a smaller chance to be settled are not worth a training."""

PROBABLY = 0.5
"""From this chance on a number of seeds "would probably settle" a claim."""


class Training(NamedTuple):
    """A run that could be trained: its id, its share of the machine in (0, 1], its estimated seconds."""

    run_id: str
    share: float
    seconds: float


@dataclass(frozen=True)
class Prospect:
    """An open claim with more seeds than it has.

    Attributes:
        claim: Names the claim; several prospects may be of one claim, with different numbers of seeds.
        seeds: Number of seeds of each of its rows.
        chance: Probability that it is settled then.
        first: The runs that are missing for its next look, and
        runs: those for as many seeds, ``first`` among them.
    """

    claim: int
    seeds: int
    chance: float
    first: frozenset[Training]
    runs: frozenset[Training]


def wall(runs: Collection[Training]) -> float:
    """Estimated wall time of runs side by side, in seconds."""
    return wall_seconds((run.share, run.seconds) for run in runs)


def choose(prospects: Sequence[Prospect], seconds: float) -> list[Prospect]:
    """The prospects to train for: together the most claims settled per time of the machine.

    From each prospect a set grows by the one that settles most per further time, as long as the whole then
    settles more per time: claims that share runs come together. The best of these sets is taken, and others
    are added while the machine has room beside the runs that come first.

    Args:
        prospects: Of open claims.
        seconds: Wall time that is left.

    Returns:
        At most one prospect of each claim; none where nothing promising fits into the time.
    """
    promising = [one for one in prospects if one.chance >= LEAST_CHANCE]
    sets = [_Set().grown(promising, seconds, start=one) for one in promising if wall(one.runs) <= seconds]
    if not sets:
        return []
    return max(sets, key=lambda found: found.rate).filled(promising, seconds).members


@dataclass(frozen=True)
class _Set:
    """Prospects of different claims, and all their runs."""

    members: list[Prospect] = field(default_factory=list)
    runs: frozenset[Training] = frozenset()

    @property
    def rate(self) -> float:
        """Expected number of claims settled per second of the whole machine."""
        return sum(one.chance for one in self.members) / _cost(self.runs)

    def grown(self, prospects: Sequence[Prospect], seconds: float, start: Prospect) -> "_Set":
        """The set that grows from a prospect while its rate rises."""
        found = self._with(start)
        while True:
            more = found._best_of(prospects, seconds)
            if more is None or more.rate <= found.rate:
                return found
            found = more

    def filled(self, prospects: Sequence[Prospect], seconds: float) -> "_Set":
        """The set with others beside it, until the runs that come first occupy the machine."""
        found = self
        while sum(run.share for run in first_of(found.members)) < 1 - 1e-9:
            more = found._best_of(prospects, seconds)
            if more is None:
                break
            found = more
        return found

    def _with(self, one: Prospect) -> "_Set":
        return _Set([*self.members, one], self.runs | one.runs)

    def _best_of(self, prospects: Sequence[Prospect], seconds: float) -> "_Set | None":
        """The set with the prospect that settles most per further time; None where none fits."""
        claims = {one.claim for one in self.members}
        others = [one for one in prospects if one.claim not in claims]
        others.sort(key=lambda one: one.chance / _cost(one.runs - self.runs), reverse=True)
        fit = (one for one in others if wall(self.runs | one.runs) <= seconds)
        best = next(fit, None)
        return None if best is None else self._with(best)


def _cost(runs: Collection[Training]) -> float:
    """Seconds of the whole machine."""
    return max(sum(run.share * run.seconds for run in runs), 1e-9)


def first_of(chosen: Sequence[Prospect]) -> frozenset[Training]:
    """The runs to train before the claims are looked at again."""
    return frozenset().union(*(one.first for one in chosen))


def fitting(groups: Sequence[Collection[Training]], seconds: float) -> list[Training]:
    """The runs of as many groups as fit into a wall time, in order; a group goes whole or not at all."""
    chosen: dict[Training, None] = {}
    for group in groups:
        if wall({**chosen, **dict.fromkeys(group)}) <= seconds:
            chosen |= dict.fromkeys(group)
    return list(chosen)
