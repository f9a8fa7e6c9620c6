"""What a user reads of a session."""

from collections.abc import Sequence

from rich.console import Console

from suite.reporting.claims import MeasuredClaim
from suite.reporting.remarks import claim_text
from suite.settling.choice import LEAST_CHANCE, PROBABLY, Prospect, Training, wall
from suite.settling.session import Next, Session
from suite.text import counted, duration, listed


def say_next(session: Session, following: Next, out: Console) -> None:
    """Print what is trained next and for which claims, or why nothing is."""
    budget = duration(session.budget)
    if not following.runs:
        lines = [
            {
                "settled": "Until settled: no claim is open.",
                "budget": f"Until settled: the next runs do not fit into what is left of the {budget}.",
                "unpromising": "Until settled: no open claim has a chance of "
                f"{LEAST_CHANCE:.0%} or more to be settled by more seeds.",
            }[following.why_not]
        ]
    elif following.requested:
        lines = [f"Until settled, {budget}: first the runs that were asked for: {_amount(following.runs)}."]
    else:
        lines = [f"Until settled, {budget}: next {_amount(following.runs)}: {_names(session, following)}."]
        lines += [f"  {_reason(following.claims[one.claim], one)}" for one in following.chosen]
    out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def say_open(following: Next, out: Console) -> None:
    """Print each claim that is not settled, and what it would probably take."""
    lines = [
        f"  {_name(claim)}: {_outlook([one for one in following.prospects if one.claim == place])}"
        if claim.outcome == "open"
        else f"  {_name(claim)}: cannot be settled here: {claim.reason or claim.outcome}"
        for place, claim in enumerate(following.claims)
        if not claim.settled
    ]
    if lines:
        lines = [f"Not settled: {counted(len(lines), 'claim')}.", *lines]
    out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def say_end(session: Session, before: Sequence[MeasuredClaim], ending: Next, out: Console) -> None:
    """Print what the session settled, and what remains open."""
    known = {(claim.item, claim.text) for claim in before if claim.settled}
    new = [one for one in ending.claims if one.settled and (one.item, one.text) not in known]
    settled = sum(claim.settled for claim in ending.claims)
    lines = [
        f"Settled in this session: {counted(len(new), 'claim')}; {settled} of {len(ending.claims)} in all.",
        *(f"  {_name(claim)}: {claim_text(claim)}" for claim in new),
    ]
    out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    say_open(ending, out)


def _name(claim: MeasuredClaim) -> str:
    return f"{claim.item}, {claim.text!r}"


def _amount(runs: Sequence[Training]) -> str:
    return f"{counted(len(runs), 'run')}, about {duration(wall(runs))}"


def _names(session: Session, following: Next) -> str:
    ids = {run.run_id for run in following.runs}
    return listed([run.spec.name for run in session.plan.runs if run.run_id in ids], most=12)


def _reason(claim: MeasuredClaim, prospect: Prospect) -> str:
    return (
        f"{_name(claim)}: {counted(len(claim.seeds), 'seed')} so far; "
        f"{prospect.seeds} would settle it with a chance of {prospect.chance:.0%}"
    )


def _outlook(prospects: Sequence[Prospect]) -> str:
    """What an open claim would take, by its prospects, ascending in seeds."""
    if not prospects:
        return "open after its last look"
    for one in prospects:
        if one.chance >= PROBABLY:
            return (
                f"{one.seeds} seeds would probably settle it (chance {one.chance:.0%}): "
                f"{_amount(sorted(one.runs))}"
            )
    best = max(prospects, key=lambda one: one.chance)
    return (
        f"no number of seeds up to {prospects[-1].seeds} would probably settle it (at best {best.seeds}, "
        f"chance {best.chance:.0%}: {_amount(sorted(best.runs))})"
    )
