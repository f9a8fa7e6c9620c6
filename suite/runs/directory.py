"""The run directory: ``runs/<run_id>/``, the only source of truth about a run."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.files import read_json, read_json_lines, write_json
from suite.locks import is_locked

BUSY = 75
"""Exit code of a worker that finds another process working on its run (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        epoch: Epoch under way, from 1.
        epochs: Epochs in all.
        loss: Loss of the last logged interval.
        eta_seconds: Estimated time to the end of the training, in seconds.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    eta_seconds: float


class RunDirectory:
    """Names and reads the files of one run.

    A run is complete if and only if :meth:`result` returns something: ``result.json`` is written last,
    by an atomic rename, and names the size and hash of every file that it rests on.

    Args:
        path: ``runs/<run_id>``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec_file = path / "spec.json"
        self.config_file = path / "config.py"
        self.environment_file = path / "environment.json"
        self.metrics_file = path / "metrics.jsonl"
        self.assignment_file = path / "assignment.jsonl"
        self.log_file = path / "log.txt"
        self.lock_file = path / ".lock"
        self.checkpoint_file = path / "checkpoints" / "latest.pth"
        self.detections_file = path / "detections.parquet"
        self.coverage_file = path / "coverage.parquet"
        self.result_file = path / "result.json"
        self.failure_file = path / "failure.json"
        self.process_failures = path / ".failures"
        self.stopwatch_file = path / "stopwatch.json"

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    def spec(self) -> dict[str, Any]:
        """What was asked for.

        Raises:
            SuiteError: ``spec.json`` is missing or damaged.
        """
        spec = read_json(self.spec_file)
        if not isinstance(spec, dict) or "identity" not in spec:
            raise SuiteError(f"{self.spec_file}: not a run's specification.", f"Delete {self.path}.")
        return spec

    def result(self) -> dict[str, Any] | None:
        """What came out, or None while the run is incomplete or its result cannot be trusted."""
        return None if self.result_problem() else read_json(self.result_file)

    def is_complete(self) -> bool:
        """Whether the result is whole, and made by the code that ``spec.json`` asks for."""
        if self.result_problem() is not None:
            return False
        try:
            made_by = read_json(self.result_file).get("evaluation")
            return bool(made_by == self.spec()["identity"].get("evaluation", {}))
        except (SuiteError, AttributeError):
            return False

    def result_problem(self) -> str | None:
        """Why there is no whole result, or None if there is one; compares sizes, which is quick.

        Whether the result was made by today's code is :attr:`suite.runs.resolved.ResolvedRun.problem`'s.
        """
        if not self.result_file.exists():
            return "no result yet"
        try:
            result = read_json(self.result_file)
            sizes = {name: int(file["bytes"]) for name, file in result["files"].items()}
            result["metrics"].items()
        except (SuiteError, AttributeError, KeyError, TypeError, ValueError):
            return "result.json is damaged"
        for name, size in sizes.items():
            file = self.path / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} is damaged"
        return None

    def progress(self) -> Progress | None:
        """The training's progress by its last logged line; None before the first, or where it is damaged."""
        try:
            recent = [line for line in read_json_lines(self.metrics_file) if "loss" in line][-10:]
            if not recent:
                return None
            last = recent[-1]
            pace = sum(line["step_seconds"] for line in recent) / len(recent)
            return Progress(
                last["step"],
                last["steps"],
                last["epoch"],
                last["epochs"],
                last["loss"],
                (last["steps"] - last["step"]) * pace,
            )
        except (SuiteError, KeyError, TypeError):
            return None

    def is_locked(self) -> bool:
        """Whether a process of this machine works on the run now."""
        return is_locked(self.lock_file)

    def failure(self) -> str | None:
        """Why the last attempt failed, or None."""
        if not self.failure_file.exists():
            return None
        try:
            return str(read_json(self.failure_file)["reason"])
        except (SuiteError, KeyError, TypeError):
            return "failure.json is damaged"

    def write_failure(self, reason: str) -> None:
        """Record why the run failed."""
        now = datetime.datetime.now(datetime.timezone.utc)
        write_json(self.failure_file, {"reason": reason, "time": now.isoformat(timespec="seconds")})

    def clear_failure(self) -> None:
        """Forget an earlier failure."""
        self.failure_file.unlink(missing_ok=True)
