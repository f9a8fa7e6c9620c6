"""What a rehearsal found out: printed when its runs have ended."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from suite.errors import SuiteError
from suite.experiments.plan import PlannedRun
from suite.files import read_json
from suite.text import counted, megabytes, one_line


def end_rehearsal(runs: list[PlannedRun], out: Console) -> None:
    """Print which runs went through, at what pace and with how much memory, and remove their checkpoints.

    Args:
        runs: The rehearsed runs, with the states that they have now.
        out: Where to print.
    """
    table = Table(title="rehearsed", title_justify="left")
    for heading in ("run", "", "per step", "peak memory", "checkpoint"):
        table.add_column(heading, justify="left" if heading in ("run", "") else "right", overflow="fold")
    freed, whole = 0, 0
    for run in runs:
        checkpoint = run.directory.checkpoint_file
        size = checkpoint.stat().st_size if checkpoint.is_file() else 0
        step, memory = _pace(run)
        done = run.state == "done"
        whole += done
        kept = megabytes(size / 1e6) if size else "-"
        verdict = "went through" if done else f"failed: {escape(_why(run))}"
        table.add_row(escape(run.spec.name), verdict, step, memory, kept)
        if done and size:
            checkpoint.unlink()
            freed += size
    out.print(table)
    out.print(
        f"{whole} of {counted(len(runs), 'run')} went through. Their checkpoints are removed "
        f"({megabytes(freed / 1e6)}).",
        highlight=False,
    )


def _pace(run: PlannedRun) -> tuple[str, str]:
    """Median time of a step and peak memory, as its result has them."""
    try:
        result = read_json(run.directory.result_file)
    except SuiteError:
        return "-", "-"
    seconds, memory = result.get("step_seconds"), result.get("peak_memory_mb")
    return f"{seconds:.2f} s" if seconds else "-", f"{memory:,.0f} MiB" if memory else "-"


def _why(run: PlannedRun) -> str:
    return one_line(run.directory.failure() or run.reason)
