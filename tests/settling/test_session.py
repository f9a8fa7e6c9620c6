"""A whole session at preset ``smoke``, its trainings faked: detections are jittered ground-truth boxes."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import report_runs
from report_runs import fake_run
from rich.console import Console

from suite.data.dataset import prepare
from suite.errors import SuiteError
from suite.evaluation.contrasts import LOOKS
from suite.evaluation.ground_truth import GroundTruth
from suite.files import read_json, write_json
from suite.reporting.claims import MeasuredClaim
from suite.runs.presets import dataset_of
from suite.settling.session import Session, measured_claims, open_session, settle
from suite.settling.words import say_end, say_next, say_open
from suite.workflow import Plan, Request, make_plan
from suite.workspace import Workspace

HOUR = 3600.0
ROWS = [
    {"label": "RetinaNet", "method": "retinanet"},
    {"label": "LTM", "method": "ltm"},
    {"label": "FreeAnchor", "method": "free_anchor"},
]
CLAIMS = [
    {"text": "LTM is better than RetinaNet", "kind": "gain", "row": "LTM", "margin": 0.5},
    {"text": "FreeAnchor is better than RetinaNet", "kind": "gain", "row": "FreeAnchor", "margin": 5},
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Preset smoke's dataset, drawn once for this file."""
    root = tmp_path_factory.mktemp("drawn")
    (root / "experiments").mkdir()
    prepare(dataset_of("smoke", None, Workspace(root)))
    return root / "data"


@pytest.fixture
def request_of(tmp_path, write_experiment, drawn, monkeypatch):
    """A request for a table with two claims: LTM is better than RetinaNet, FreeAnchor is its equal."""
    write_experiment("own.table", rows=ROWS, claims=CLAIMS)
    (tmp_path / "data").symlink_to(drawn)
    quality = {"retinanet": (0.3, 0.3, 0.0), "free_anchor": (0.3, 0.3, 0.0), "ltm": (0.26, 0.26, 0.0)}
    monkeypatch.setattr(report_runs, "QUALITY", quality)
    monkeypatch.setattr("suite.workflow.cpu_count", lambda: 2)

    def make(*seeds: int) -> Request:
        return Request("smoke", "own.table", seeds, None, Workspace(tmp_path), finished_too=True)

    return make


class Machine:
    """Carries out plans in made-up time: a run takes what was estimated, two side by side."""

    def __init__(self, failing: tuple[str, ...] = (), slower: float = 1.0) -> None:
        self.now = 0.0
        self.batches: list[list[str]] = []
        self.failing, self.slower = failing, slower

    def clock(self) -> float:
        return self.now

    def carry_out(self, planned: Plan) -> list[str]:
        prepare(planned.dataset)
        truth = GroundTruth.load(planned.dataset.val.annotations)
        self.batches.append([run.spec.name for run in planned.to_do])
        self.now += self.slower * planned.seconds
        failed = []
        for run in planned.to_do:
            if run.spec.name in self.failing:
                failed.append(f"{run.spec.name}: NaN")
                continue
            fake_run(run.directory, truth, run.spec.method, run.spec.seed)
            result = read_json(run.directory.result_file)
            write_json(run.directory.result_file, {**result, "evaluation": run.identity.evaluation})
            write_json(run.directory.spec_file, run.as_spec_json(planned.dataset))
        return failed


def carry_on(session: Session, machine: Machine) -> tuple[list[MeasuredClaim], str, str]:
    """A whole session: claims at its end, why it ended, and what it printed."""
    out = io.StringIO()
    console = Console(file=out, width=200)
    before, ending = settle(
        session, machine.carry_out, lambda one: say_next(session, one, console), clock=machine.clock
    )
    say_end(session, before, ending, console)
    return list(ending.claims), ending.why_not, out.getvalue()


def test_a_session_trains_where_claims_are_open_and_resumes(request_of):
    machine = Machine()
    session = open_session(request_of(), 2 * HOUR)
    assert session.seeds == (0, 1)  # the preset's one seed, and what the first look needs
    claims, why, text = carry_on(session, machine)
    first, *later = machine.batches
    assert len(first) == 3 * 2 and first[0] == "retinanet seed 0"
    ltm = claims[0]
    assert ltm.settled and ltm.decision == "positive"
    # LTM is trained for no further seed once its claim is settled.
    assert sum("ltm seed" in name for batch in later for name in batch) == len(ltm.seeds) - 2
    assert all(len(claim.seeds) in LOOKS for claim in claims)
    assert machine.now <= 2 * HOUR
    assert why in ("settled", "unpromising")
    assert "first the runs that were asked for: 6 runs" in text
    assert "own.table, 'LTM is better than RetinaNet': measured +" in text
    assert "of 2 in all" in text

    again = Machine()  # it goes on from the finished runs, and finds nothing more to do
    _, why_again, text = carry_on(open_session(request_of(), 2 * HOUR), again)
    assert (again.batches, why_again) == ([], why)
    assert "Settled in this session: 0 claims" in text
    shown = make_plan(request_of())
    assert len(shown.runs) == sum(map(len, machine.batches)) and not shown.to_do
    assert {run.spec.seed for run in shown.runs} > {0, 1}
    assert make_plan(replace(request_of(0, 1), finished_too=False)).seeds == (0, 1)


def test_the_budget_is_kept_and_the_next_session_goes_on(request_of):
    seconds = make_plan(request_of()).runs[0].seconds
    machine = Machine()
    session = open_session(request_of(), 2 * seconds)  # four runs, two at a time
    claims, why, text = carry_on(session, machine)
    assert why == "budget" and sum(map(len, machine.batches)) == 4
    assert "the next runs do not fit into what is left" in text
    assert [claim.outcome for claim in claims] == ["open", "not measured"]
    assert "own.table, 'FreeAnchor is better than RetinaNet': cannot be settled here: FreeAnchor" in text
    again = Machine()
    carry_on(open_session(request_of(), 1.01 * seconds), again)
    assert again.batches == [["free_anchor seed 0", "free_anchor seed 1"]]


def test_estimates_follow_the_machine(request_of):
    """Runs take four times as long as estimated: what follows is chosen by that."""
    machine = Machine(slower=4)
    seconds = make_plan(request_of()).runs[0].seconds
    session = open_session(request_of(), 16 * seconds)  # the first six runs take 12, two others 4
    carry_on(session, machine)
    assert session.pace == pytest.approx(4)
    assert machine.now <= 16 * seconds


def test_a_run_that_fails_is_not_tried_again_and_its_seed_is_left_out(request_of):
    machine = Machine(failing=("retinanet seed 2",))
    session = open_session(request_of(), 2 * HOUR)
    claims, _, _ = carry_on(session, machine)
    assert session.failed == ["retinanet seed 2: NaN"]
    names = [name for batch in machine.batches for name in batch]
    assert names.count("retinanet seed 2") == 1
    assert claims[0].settled and 2 not in claims[0].seeds


def test_a_claim_without_a_second_seed_is_not_pursued(request_of):
    failing = tuple(f"{method} seed 1" for method in ("ltm", "free_anchor"))
    claims, why, text = carry_on(open_session(request_of(), HOUR), Machine(failing))
    assert [claim.outcome for claim in claims] == ["one seed"] * 2 and why == "settled"
    assert "cannot be settled here: one seed" in text


def test_the_plan_says_what_comes_next_and_why(request_of):
    out = io.StringIO()
    console = Console(file=out, width=200)
    session = open_session(request_of(), HOUR)
    say_next(session, session.next(HOUR, measured_claims), console)
    assert "Until settled, 60 min: first the runs that were asked for: 6 runs" in out.getvalue()
    Machine().carry_out(session.view)
    session = open_session(request_of(), HOUR)
    following = session.next(HOUR, measured_claims)
    say_next(session, following, console)
    say_open(following, console)
    text = out.getvalue()
    assert "next 2 runs" in text or "next 4 runs" in text or "next 3 runs" in text
    assert "2 seeds so far; " in text and "would settle it with a chance of " in text
    assert "Not settled: 2 claims." in text
    assert "seeds would probably settle it (chance " in text


def test_a_claim_after_its_last_look_is_given_up(request_of, monkeypatch):
    monkeypatch.setattr("suite.settling.prospects.LOOKS", {2: 1.0})
    machine = Machine()
    _, why, text = carry_on(open_session(request_of(), HOUR), machine)
    assert len(machine.batches) == 1 and why == "unpromising"
    assert "open after its last look" in text


def test_what_settles_nothing_is_refused(request_of, write_experiment):
    with pytest.raises(SuiteError, match="preset 'rehearsal': a rehearsal trains a few steps"):
        open_session(replace(request_of(), preset="rehearsal"), HOUR)
    write_experiment("own.other", rows=ROWS)
    with pytest.raises(SuiteError, match=r"EXPERIMENTS=own\.other: none of these declares a claim"):
        open_session(replace(request_of(), experiments="own.other"), HOUR)
