"""What a user sees while runs are carried out: a live table, or one line per change in a file."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from suite.errors import SuiteError
from suite.runs.directory import Progress, RunDirectory
from suite.runs.sharing import take_over
from suite.scheduling.executor import BUSY, CANCELLED, Executor, Job, Outcome
from suite.text import duration, one_line

_REFRESH_SECONDS = 1.0
_QUARTERS = (75, 50, 25)


@dataclass
class _Row:
    """A run on the display."""

    started: float | None = None
    """time.monotonic() when it was first seen running."""
    progress: Progress | None = None
    reported: int = 0
    """Last quarter, in percent, that a line was printed for."""
    first_step: int = 0
    """Steps that an interrupted attempt had already done."""
    elsewhere: bool = False
    """Another process works on it."""

    @property
    def state(self) -> str:
        if self.started is None:
            return "elsewhere" if self.elsewhere else "queued"
        evaluating = self.progress is not None and self.progress.step >= self.progress.steps
        return "evaluating" if evaluating else "running"


def watch(
    executor: Executor,
    jobs: Sequence[Job],
    runs: Mapping[str, RunDirectory],
    console: Console,
    donors: Mapping[str, str] | None = None,
) -> list[Outcome]:
    """Carry out jobs to their end and show how they get on.

    A run that fails does not stop the others. Ctrl-C ends all runs, says how to resume, and goes on to the
    caller. A run with a donor starts when the donor has ended, from its training; if the donor failed, it
    trains itself. A run that another process works on is waited for: where that one completes it, its result
    is this one's too; where it does not, the run is started here.

    Args:
        executor: What starts them; it holds no other jobs.
        jobs: The runs, in the order to start them.
        runs: Run directory of each job, by run id.
        console: A terminal gets a live table, anything else a line for each change.
        donors: Of runs that take over the training of another job, the other's run id.

    Returns:
        One outcome per job, in the order in which they ended.

    Raises:
        SuiteError: A job is refused; nothing keeps running.
    """
    display = _Display(jobs, runs, console)
    outcomes: list[Outcome] = []
    donors = donors or {}
    elsewhere: dict[str, Job] = {}
    """Jobs whose runs another process works on."""

    def start(job: Job) -> None:
        if runs[job.run_id].is_locked():
            elsewhere[job.run_id] = job
            display.wait_for(job.run_id)
        else:
            executor.submit(job)

    def next_outcome() -> Outcome | None:
        for job in [job for job in elsewhere.values() if not runs[job.run_id].is_locked()]:
            del elsewhere[job.run_id]
            if runs[job.run_id].is_complete():
                return Outcome(job.run_id, ok=True)
            start(job)
        outcome = executor.next_outcome(timeout=_REFRESH_SECONDS)
        if outcome is None and elsewhere and not executor.running():
            time.sleep(_REFRESH_SECONDS)
        if outcome is not None and outcome.reason == BUSY:  # the other process was a moment faster
            start(next(job for job in jobs if job.run_id == outcome.run_id))
            return None
        return outcome

    try:
        for job in jobs:
            if job.run_id not in donors:
                start(job)
        with ExitStack() as stack:
            live = None
            if console.is_terminal:
                live = stack.enter_context(Live(console=console, auto_refresh=False, transient=True))
            while len(outcomes) < len(jobs):
                outcome = next_outcome()
                if outcome is not None:
                    outcomes.append(outcome)
                    display.finish(outcome)
                    for job in jobs:
                        if donors.get(job.run_id) == outcome.run_id:
                            if outcome.ok:
                                _take_over(runs[outcome.run_id], runs[job.run_id], console)
                            start(job)
                display.update(executor.running())
                if live is not None:
                    live.update(display.table(), refresh=True)
    except BaseException as error:
        for job in jobs:
            executor.cancel(job.run_id)
        if isinstance(error, KeyboardInterrupt):
            console.print(
                f"Interrupted: {len(outcomes)} of {len(jobs)} runs finished, the others are stopped. "
                "The same command resumes them from their checkpoints."
            )
        raise
    return outcomes


def _take_over(donor: RunDirectory, run: RunDirectory, console: Console) -> None:
    """Take the donor's training over; where that fails, the run trains itself."""
    try:
        take_over(donor, run)
    except SuiteError as error:
        console.print(f"note: {error.message} {run.run_id} trains itself.", markup=False, highlight=False)


class _Display:
    """Follows the runs and writes about them."""

    def __init__(self, jobs: Sequence[Job], runs: Mapping[str, RunDirectory], console: Console) -> None:
        self._runs = runs
        self._console = console
        self._rows = {job.run_id: _Row() for job in jobs}
        self._total = len(jobs)
        self._failed = 0
        self._durations: list[float] = []
        self._side_by_side = 0

    def update(self, running: Sequence[str]) -> None:
        """Take in what runs now, and write a line for what changed unless the table shows it."""
        self._side_by_side = max(self._side_by_side, len(running))
        for run_id in running:
            row = self._rows.get(run_id)
            if row is None:
                continue
            first_look = row.started is None
            row.started = time.monotonic() if row.started is None else row.started
            row.progress = self._runs[run_id].progress()
            done = row.progress.step if row.progress else 0
            if first_look:
                row.first_step = done
                row.reported = _quarter(row.progress)
                resumed = f" from step {done}" if done else ""
                self._line(f"started   {run_id}{resumed}")
            elif (quarter := _quarter(row.progress)) > row.reported and row.progress is not None:
                row.reported = quarter
                self._line(f"{quarter:>3} %     {run_id}  {_describe(row.progress)}")

    def wait_for(self, run_id: str) -> None:
        """Say that another process works on a run."""
        row = self._rows[run_id]
        if not row.elsewhere:
            row.elsewhere = True
            self._line(f"waiting   {run_id}: another process works on it")

    def finish(self, outcome: Outcome) -> None:
        """Write how a run ended; this line stays above the table."""
        row = self._rows.pop(outcome.run_id)
        seconds = 0.0 if row.started is None else time.monotonic() - row.started
        if outcome.ok:
            self._durations.append(seconds)
            result = self._runs[outcome.run_id].result() or {}
            average_precision = result.get("metrics", {}).get("AP")
            metric = "" if average_precision is None else f"  AP {average_precision:.3f}"
            text = f"[green]finished[/]  {outcome.run_id}  {duration(seconds)}{metric}"
        elif outcome.reason == CANCELLED:
            text = f"cancelled {outcome.run_id}"
        else:
            self._failed += 1
            text = f"[red]failed[/]    {outcome.run_id}  {escape(one_line(outcome.reason))}"
        ended = self._total - len(self._rows)
        left = self.seconds_left()
        eta = "" if left is None or not self._rows else f", about {duration(left)} left"
        self._console.print(f"{text}  ({ended}/{self._total}{eta})", highlight=False, soft_wrap=True)

    def seconds_left(self) -> float | None:
        """Estimated seconds until all runs have ended; None while nothing is known."""
        now = time.monotonic()
        going = {name: row for name, row in self._rows.items() if row.started is not None}
        rest = [row.progress.eta_seconds for row in going.values() if row.progress is not None]
        # A whole run's length: from those that ended here, else from the pace of those under way.
        whole = list(self._durations) or [
            (now - row.started) + row.progress.eta_seconds
            for row in going.values()
            if row.started is not None and row.progress is not None and row.first_step == 0
        ]
        if not whole and not (rest and len(rest) == len(self._rows)):
            return None
        typical = sum(whole) / len(whole) if whole else 0.0
        unknown = len(self._rows) - len(rest)
        return max([*rest, (sum(rest) + unknown * typical) / max(1, self._side_by_side)])

    def table(self) -> Table:
        """The runs under way and the next in the queue, as many as the terminal holds."""
        left = self.seconds_left()
        going = sum(row.started is not None for row in self._rows.values())
        ended = self._total - len(self._rows)
        eta = "" if left is None else f" · about {duration(left)} left"
        table = Table(
            caption=f"{ended - self._failed} done · {self._failed} failed · {going} running · "
            f"{len(self._rows) - going} queued{eta}",
            caption_justify="left",
        )
        for heading in ("run", "state", "epoch", "loss", "left"):
            table.add_column(heading, justify="left" if heading in ("run", "state") else "right")
        by_state = sorted(self._rows.items(), key=lambda item: item[1].started is None)
        for run_id, row in by_state[: max(1, self._console.height - 8)]:
            cells = ("", "", "")
            if row.progress is not None and row.started is not None:
                progress = row.progress
                left_here = "" if row.state == "evaluating" else duration(progress.eta_seconds)
                cells = (f"{progress.epoch}/{progress.epochs}", f"{progress.loss:.4g}", left_here)
            table.add_row(run_id, row.state, *cells, style="dim" if row.started is None else "")
        return table

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _quarter(progress: Progress | None) -> int:
    """The last quarter of the training that is over: 0, 25, 50 or 75; the end has its own line."""
    if progress is None or progress.steps == 0:
        return 0
    percent = 100 * progress.step / progress.steps
    return next((quarter for quarter in _QUARTERS if percent >= quarter), 0)


def _describe(progress: Progress) -> str:
    return (
        f"epoch {progress.epoch}/{progress.epochs}  loss {progress.loss:.4g}  "
        f"{duration(progress.eta_seconds)} left"
    )
