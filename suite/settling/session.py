"""A session: train, look at the claims, choose the next runs, until settled or until the budget is spent.

It keeps nothing of its own: what was trained is in the run directories, and the next session finds it there.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice

from suite.data.dataset import prepare
from suite.errors import SuiteError
from suite.evaluation.contrasts import LOOKS
from suite.experiments.plan import looked_at_again, seeds_of_runs
from suite.reporting.claims import MeasuredClaim
from suite.runs.configs import preset_info
from suite.settling.choice import Prospect, Training, choose, first_of, fitting
from suite.settling.prospects import Trainings, prospects_of
from suite.workflow import Plan, Request, make_plan, report_input

CarryOut = Callable[[Plan], list[str]]
"""Carries out what a plan has to do; returns a line for each run that failed."""

Measure = Callable[[Plan], list[MeasuredClaim]]


@dataclass(frozen=True)
class Next:
    """What a session does next.

    Attributes:
        runs: What is trained now; nothing where the session ends.
        requested: Whether these are runs that were asked for, of whatever use.
        chosen: Else the claims that they are for.
        claims: All claims as they stand.
        prospects: Every number of seeds at which an open claim could be looked at.
        why_not: Where nothing is trained, why: ``settled``, ``budget`` or ``unpromising``.
    """

    runs: tuple[Training, ...]
    requested: bool = False
    chosen: tuple[Prospect, ...] = ()
    claims: tuple[MeasuredClaim, ...] = ()
    prospects: tuple[Prospect, ...] = ()
    why_not: str = ""


@dataclass
class Session:
    """The state of a session.

    Attributes:
        plan: Of every seed that could be trained.
        seeds: Those that were asked for, at least as many as the first look needs.
        budget: Wall time in seconds.
        lost: Ids of runs that were tried in this session and are not finished.
        failed: A line for each run that failed.
        estimated, took: Seconds of wall time of what was trained: as estimated, and as measured.
    """

    plan: Plan
    seeds: tuple[int, ...]
    budget: float
    lost: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    estimated: float = 0.0
    took: float = 0.0

    @property
    def view(self) -> Plan:
        """The plan of the seeds that were asked for, and of all other finished runs."""
        return self.plan.of_seeds(self.seeds)

    @property
    def pace(self) -> float:
        """What trainings took in this session over their estimated time."""
        return self.took / self.estimated if self.estimated else 1.0

    def next(self, left: float, measure: Measure) -> Next:
        """What is to be done in the seconds that are left."""
        trainings = Trainings(self.plan.runs, self.lost, self.pace)
        needed = [trainings.needed(run.run_id) for run in self.view.to_do if run.run_id not in self.lost]
        requested = [one for one in needed if one]
        if requested:
            runs = fitting(requested, left)
            if runs:
                return Next(tuple(runs), requested=True)
        claims = measure(self.view)
        found = prospects_of(claims, trainings)
        state = Next((), claims=tuple(claims), prospects=tuple(found))
        if requested:
            return replace(state, requested=True, why_not="budget")
        if not any(claim.outcome == "open" for claim in claims):
            return replace(state, why_not="settled")
        chosen = choose(found, left)
        if chosen:
            return replace(state, runs=tuple(sorted(first_of(chosen))), chosen=tuple(chosen))
        return replace(state, why_not="budget" if choose(found, float("inf")) else "unpromising")

    def train(self, runs: Sequence[Training], carry_out: CarryOut, clock: Callable[[], float]) -> None:
        """Carry runs out, and note how they ended."""
        ids = {run.run_id for run in runs}
        part = replace(self.plan, runs=[run for run in self.plan.runs if run.run_id in ids])
        started = clock()
        self.failed += carry_out(part)
        self.took += clock() - started
        self.estimated += part.seconds
        again = [
            looked_at_again(run, self.plan.dataset) if run.run_id in ids else run for run in self.plan.runs
        ]
        noticed = replace(self.plan.dataset, notices=())  # said once
        self.plan = replace(self.plan, runs=again, dataset=noticed)
        self.lost |= {run.run_id for run in again if run.run_id in ids and run.state != "done"}


def open_session(request: Request, budget: float) -> Session:
    """Plan a session; starts nothing.

    Raises:
        SuiteError: The request cannot be planned, its preset is the rehearsal, or no claim is declared.
    """
    info = preset_info(request.preset)
    if info.get("rehearsal"):
        raise SuiteError(
            f"preset {request.preset!r}: a rehearsal trains a few steps, and its numbers settle nothing.",
            "Leave UNTIL and BUDGET out, or choose another preset.",
        )
    first_look = min(LOOKS)
    asked = sorted(request.seeds or info["seeds"])
    asked += islice(count(asked[-1] + 1), max(0, first_look - len(asked)))
    further = islice(count(asked[-1] + 1), max(LOOKS))
    known = seeds_of_runs(request.workspace.runs, request.preset)
    whole = make_plan(replace(request, seeds=tuple(sorted({*asked, *further, *known}))))
    if not any(experiment.claims for experiment in whole.experiments):
        raise SuiteError(
            f"EXPERIMENTS={request.experiments}: none of these declares a claim that could be settled.",
            "Choose others, like EXPERIMENTS=core, or leave UNTIL and BUDGET out.",
        )
    return Session(replace(whole, request=request), tuple(asked), budget)


def measured_claims(planned: Plan) -> list[MeasuredClaim]:
    """The claims of the plan's experiments, as its report would show them; none before the first run."""
    if all(run.state != "done" for run in planned.runs) or not planned.dataset.val.annotations.exists():
        return []
    from suite.evaluation.ground_truth import GroundTruth
    from suite.evaluation.measurements import Measurements
    from suite.reporting.render import measured_items, other_p_values

    report = report_input(planned)
    measurements = Measurements(GroundTruth.load(planned.dataset.val.annotations))
    items = measured_items(report, measurements, other_p_values(report, planned.report_folder))
    return [claim for item in items for claim in item.claims]


def settle(
    session: Session,
    carry_out: CarryOut,
    announce: Callable[[Next], None],
    measure: Measure = measured_claims,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[MeasuredClaim], Next]:
    """Train until all claims are settled, none of the open ones is promising, or the budget is spent.

    A run that has begun is finished.

    Args:
        session: What :func:`open_session` planned.
        carry_out: Trains.
        announce: Is told what is done next, each time.
        measure: Measures the claims.
        clock: Seconds.

    Returns:
        The claims as they were before, and how it ended.
    """
    start = clock()
    prepare(session.plan.dataset)
    before = measure(session.view)
    while True:
        following = session.next(session.budget - (clock() - start), measure)
        announce(following)
        if not following.runs:
            return before, following
        session.train(following.runs, carry_out, clock)
