"""Carries out a study: asks Optuna for trials, runs them through an executor, tells what came out.

Every state is on the disk before the next step is taken, so that the same command goes on after a kill at any
moment: a trial that was under way is found RUNNING in the storage, keeps its number and its parameters, and
its runs are taken up where they stopped, or are finished already.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.runs.directory import RunDirectory
from suite.runs.resolved import ResolvedRun
from suite.scheduling.executor import BUSY, CANCELLED, Executor, Job, Outcome
from suite.text import one_line
from suite.tuning.checks import PRUNED_BY
from suite.tuning.curves import Curves
from suite.tuning.objectives import measure
from suite.tuning.records import describe, write_records
from suite.tuning.space import suggest
from suite.tuning.study_plan import StudyPlan

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.trial import Trial

_POLL_SECONDS = 1.0


@dataclass
class _ActiveTrial:
    """A trial under way."""

    trial: "Trial"
    options: dict[str, Any]
    runs: list[ResolvedRun]
    curves: Curves
    open: set[str] = field(default_factory=set)
    """Ids of the runs that have not ended."""
    reported: set[int] = field(default_factory=set)
    """Epochs whose AP Optuna knows."""
    pruned: bool = False


class Driver:
    """Runs the trials of one study; it is the only writer of the study's storage.

    Args:
        plan: The study at its preset.
        study: The study in its storage.
        truth: Annotations of the split that trials are evaluated on.
        executor: What starts the runs; it holds no other jobs.
        parallel: Trials at once.
        out: Where a line a change is printed.
        on_start: Called with each run that is started.
    """

    def __init__(
        self,
        plan: StudyPlan,
        study: "OptunaStudy",
        truth: GroundTruth,
        executor: Executor,
        parallel: int,
        out: Console,
        on_start: Callable[[RunDirectory], None] = lambda run: None,
    ) -> None:
        self._plan = plan
        self._study = study
        self._truth = truth
        self._executor = executor
        self._parallel = parallel
        self._out = out
        self._on_start = on_start
        self._active: dict[int, _ActiveTrial] = {}
        self._submitted: set[str] = set()
        self._elsewhere: dict[str, ResolvedRun] = {}
        """Runs that another process has locked: a driver that was just killed, or other experiments."""
        objectives = plan.study.objectives
        self._reports = len(objectives) == 1 and objectives[0].metric == PRUNED_BY

    def run(self, total: int) -> None:
        """Go on until the study has ``total`` trials that have ended, pruned and failed ones included.

        Raises:
            SuiteError: A run asks for more than a machine has, or the storage or disk fails. Trials under way
                stay as they are, for the next call.
        """
        from optuna.trial import Trial, TrialState

        for dead in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # Optuna has no other way to take up a trial of a process that is gone.
            self._start(Trial(self._study, dead._trial_id), set(dead.intermediate_values))
        self._write_records()
        while True:
            while len(self._active) < self._parallel and self._asked() < total:
                self._start(self._study.ask())
                self._write_records()
            if not self._active:
                return
            self._wait()

    def _asked(self) -> int:
        from optuna.trial import TrialState

        states = tuple(state for state in TrialState if state is not TrialState.WAITING)
        return len(self._study.get_trials(deepcopy=False, states=states))

    def _start(self, trial: "Trial", reported: set[int] | None = None) -> None:
        options = suggest(trial, self._plan.study.space)
        try:
            runs = [self._plan.run(options, seed) for seed in self._plan.study.seeds]
        except SuiteError as error:  # options that are illegal together
            self._fail(trial, str(error))
            return
        trial.set_user_attr("run_ids", [run.run_id for run in runs])
        trial.set_user_attr("options", options)
        curves = Curves([run.directory for run in runs])
        active = _ActiveTrial(trial, options, runs, curves, reported=reported or set())
        self._active[trial.number] = active
        for run in runs:
            if not run.is_done:
                active.open.add(run.run_id)
                self._submit(run)
        if active.open:
            self._line(f"trial {trial.number} started: {escape(describe(options))}")
        else:
            self._finish(active)

    def _submit(self, run: ResolvedRun) -> None:
        """Start a run, unless it is under way for another trial, or by another process."""
        if run.run_id in self._submitted or run.run_id in self._elsewhere:
            return
        if run.directory.is_locked():
            self._elsewhere[run.run_id] = run
            return
        run.write(self._plan.dataset, self._plan.weights)
        self._executor.submit(Job.of(run))
        self._submitted.add(run.run_id)
        self._on_start(run.directory)

    def _wait(self) -> None:
        """Wait a moment for a run to end, and look at the curves of the others."""
        outcome = None
        if self._submitted:
            outcome = self._executor.next_outcome(timeout=_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)
        if outcome is not None:
            self._submitted.discard(outcome.run_id)
            self._take(outcome)
        for run in [run for run in self._elsewhere.values() if not run.directory.is_locked()]:
            del self._elsewhere[run.run_id]
            if run.is_done:
                self._take(Outcome(run.run_id, ok=True))
            elif self._users(run.run_id):
                self._submit(run)
        for active in list(self._active.values()):
            self._watch(active)

    def _take(self, outcome: Outcome) -> None:
        """Tell the trials that wait for a run how it ended."""
        for active in self._users(outcome.run_id):
            run = next(run for run in active.runs if run.run_id == outcome.run_id)
            busy = outcome.reason == BUSY or run.directory.is_locked()
            if not outcome.ok and outcome.reason != CANCELLED and busy:
                self._elsewhere[run.run_id] = run  # another process was faster
            else:
                self._ended(active, outcome)

    def _users(self, run_id: str) -> list[_ActiveTrial]:
        return [active for active in self._active.values() if run_id in active.open]

    def _ended(self, active: _ActiveTrial, outcome: Outcome) -> None:
        active.open.discard(outcome.run_id)
        if outcome.reason == CANCELLED:
            if active.pruned:
                self._prune(active)
            else:  # pruned for another trial, just as this one came to share it
                active.open.add(outcome.run_id)
                self._submit(next(run for run in active.runs if run.run_id == outcome.run_id))
        elif not outcome.ok:
            self._leave(active)
            del self._active[active.trial.number]
            self._fail(active.trial, f"{outcome.run_id}: {outcome.reason}")
        elif not active.open:
            # Pruned, but its last run was faster: that counts if the other seeds' runs are there too.
            if active.pruned and not all(run.is_done for run in active.runs):
                self._prune(active)
            else:
                self._finish(active)

    def _watch(self, active: _ActiveTrial) -> None:
        """Report the AP of each epoch that is new, and end the trial where the pruner says so."""
        if not self._reports or active.pruned:
            return
        last = active.runs[0].config["train_cfg"]["max_epochs"]
        for epoch, value in active.curves.new():
            if epoch in active.reported:
                continue
            active.reported.add(epoch)
            active.trial.report(value, epoch)
            # After the last epoch there is nothing to save but the evaluation.
            if epoch < last and active.trial.should_prune():
                active.pruned = True
                self._leave(active)
                if not active.open:
                    self._prune(active)
                return

    def _leave(self, active: _ActiveTrial) -> None:
        """Cancel a trial's runs, but those that other trials need."""
        for run_id in list(active.open):
            if len(self._users(run_id)) > 1 or run_id in self._elsewhere:
                active.open.discard(run_id)
                if not self._users(run_id):
                    self._elsewhere.pop(run_id, None)
            else:
                self._executor.cancel(run_id)

    def _finish(self, active: _ActiveTrial) -> None:
        """Tell Optuna the numbers of a trial whose runs are all complete."""
        study, trial = self._plan.study, active.trial
        del self._active[trial.number]
        try:
            found = measure(self._truth, [run.directory for run in active.runs], study.metrics)
        except SuiteError as error:
            self._fail(trial, str(error))
            return
        if self._reports:
            for epoch, value in active.curves.new():
                if epoch not in active.reported:
                    trial.report(value, epoch)
        trial.set_user_attr("measured", found)
        for bound in study.constraints:
            if bound.metric not in trial.constraints:
                trial.set_constraint(bound.metric, found[bound.metric] - bound.at_most)
        self._study.tell(trial, [found[one.metric] for one in study.objectives])
        self._write_records()
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        self._line(f"[green]trial {trial.number} finished[/]: {numbers}; {escape(describe(active.options))}")

    def _prune(self, active: _ActiveTrial) -> None:
        from optuna.trial import TrialState

        del self._active[active.trial.number]
        self._study.tell(active.trial, state=TrialState.PRUNED)
        self._write_records()
        self._line(f"trial {active.trial.number} pruned: {escape(describe(active.options))}")

    def _fail(self, trial: "Trial", reason: str) -> None:
        from optuna.trial import TrialState

        trial.set_user_attr("reason", reason)
        self._study.tell(trial, state=TrialState.FAIL)
        self._write_records()
        self._line(f"[red]trial {trial.number} failed[/]: {escape(one_line(reason))}")

    def _write_records(self) -> None:
        write_records(self._plan, self._study)

    def _line(self, text: str) -> None:
        self._out.print(text, highlight=False, soft_wrap=True)
