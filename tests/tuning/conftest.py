"""What the tests of studies share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suite.data.dataset import Dataset
from suite.scheduling import LocalExecutor
from suite.tuning import driver
from suite.tuning.definition import open_study
from suite.tuning.study_plan import StudyPlan

from .cases import VALUE, Script, make_plan, printed, quiet


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_POLL_SECONDS", 0.02)


@pytest.fixture
def plan_of(tmp_path: Path, dataset: Dataset) -> Callable[..., StudyPlan]:
    """Makes a plan; keyword arguments are fields of the study."""

    def make(**changes: Any) -> StudyPlan:
        return make_plan(tmp_path, dataset, **changes)

    return make


@pytest.fixture
def carry_out(tmp_path: Path) -> Callable[..., tuple[Any, str]]:
    """Runs a study with scripts as trials; gives the study as Optuna has it, and what was printed."""

    def run(
        plan: StudyPlan, body: str = VALUE, trials: int | None = None, cpus: float = 2
    ) -> tuple[Any, str]:
        out = quiet()
        plan.folder.mkdir(parents=True, exist_ok=True)
        study = open_study(plan, None)
        with LocalExecutor(cpus=cpus, gpus=0, command=Script(tmp_path, body)) as executor:
            made = driver.Driver(plan, study, None, executor, plan.study.parallel, out)  # type: ignore[arg-type]
            made.run(plan.study.trials if trials is None else trials)
        return study, printed(out)

    return run
