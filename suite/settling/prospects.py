"""From open claims to the runs that they wait for."""

from collections.abc import Collection, Mapping, Sequence

from suite.evaluation.contrasts import LOOKS
from suite.experiments.plan import PlannedRun
from suite.reporting.claims import MeasuredClaim
from suite.settling.choice import Prospect, Training
from suite.settling.forecast import chance
from suite.workflow import share_of_machine


class Trainings:
    """The runs of every row and seed that a session could train.

    Args:
        runs: All of them, finished ones included.
        lost: Ids of those that failed in this session.
        pace: What a run takes over its estimated time.
    """

    def __init__(self, runs: Sequence[PlannedRun], lost: Collection[str] = (), pace: float = 1.0) -> None:
        self._runs = {run.run_id: run for run in runs}
        self._lost = lost
        self._pace = pace
        self._of_row: dict[tuple[str, str], dict[int, PlannedRun]] = {}
        for run in runs:
            for use in run.uses:
                self._of_row.setdefault((use.experiment, use.row), {})[run.spec.seed] = run

    def needed(self, run_id: str) -> frozenset[Training] | None:
        """What has to be trained to have a run: itself and its donor, if not finished; None if it is lost."""
        run = self._runs[run_id]
        if run.state == "done":
            return frozenset()
        if run_id in self._lost:
            return None
        found = {Training(run_id, share_of_machine(run), self._pace * run.seconds)}
        if run.donor is not None and run.donor.run_id in self._runs:
            donors = self.needed(run.donor.run_id)
            if donors is None:
                return None
            found |= donors
        return frozenset(found)

    def further_seeds(self, claim: MeasuredClaim) -> list[frozenset[Training]]:
        """For each seed after those that a claim has, ascending: what its rows lack of it."""
        rows = [self._of_row.get((claim.item, row), {}) for row in claim.rows]
        seeds = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
        found = []
        for seed in seeds:
            if seed > max(claim.seeds, default=-1):
                lacking = [self.needed(row[seed].run_id) for row in rows]
                if None not in lacking:
                    found.append(frozenset().union(*(one or () for one in lacking)))
        return found


def prospects_of(claims: Sequence[MeasuredClaim], trainings: Trainings) -> list[Prospect]:
    """Every number of seeds at which an open claim will be looked at; a claim is named by its place."""
    found = []
    for place, claim in enumerate(claims):
        if claim.outcome != "open" or claim.now is None or claim.level is None:
            continue
        have, further = len(claim.seeds), trainings.further_seeds(claim)
        looks = [look for look in LOOKS if have < look <= have + len(further)]
        runs: Mapping[int, frozenset[Training]] = {
            look: frozenset().union(*further[: look - have]) for look in looks
        }
        for look in looks:
            likely = chance(claim.now, look, claim.margin, claim.level)
            found.append(Prospect(place, look, likely, runs[looks[0]], runs[look]))
    return found
