"""``suite tune``: from a study's name to its report."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from suite.errors import SuiteError
from suite.tuning.best import best_trials, counts
from suite.tuning.definition import only_driver, open_study
from suite.tuning.driver import Driver
from suite.tuning.records import summary, write_description
from suite.tuning.storage import JOURNAL, without_password
from suite.tuning.study_plan import StudyPlan, plan_study, prepare_data
from suite.tuning.study_report import write_report
from suite.workspace import Workspace

if TYPE_CHECKING:
    from suite.scheduling.executors import ExecutorName


def tune(
    name: str,
    workspace: Workspace,
    out: Console,
    *,
    preset: str | None,
    trials: int | None,
    parallel: int | None,
    storage: str | None,
    coco_root: Path | None,
    executor: "ExecutorName",
    address: str | None,
    cpus: float | None,
    gpus: float | None,
) -> bool:
    """Begin a study or go on with it, to its number of trials; write its report.

    Args:
        name: The study's name.
        workspace: Where things are.
        out: Where progress is printed.
        preset: A preset in place of the file's.
        trials: A total number of trials in place of the file's.
        parallel: A number of trials at once in place of the file's.
        storage: A database in place of the journal in the study's folder.
        coco_root: A COCO root that takes the place of the preset's dataset.
        executor: ``ray`` or ``local``.
        address: A running Ray cluster.
        cpus: CPU cores to fill.
        gpus: GPUs to fill.

    Returns:
        Whether there is a trial that is complete and keeps the constraints.

    Raises:
        SuiteError: Something is wrong that can be known before a trial starts, or the machine fails.
    """
    from optuna.exceptions import StorageInternalError

    from suite.scheduling.executors import make_executor
    from suite.tracking.background import BackgroundMirror

    plan = plan_study(name, preset, coco_root, workspace)
    total = _total(plan, trials)
    with only_driver(plan):
        truth = prepare_data(plan)
        study = open_study(plan, storage)
        kept = str(plan.folder / JOURNAL) if storage is None else without_password(storage)
        write_description(plan, study, kept)
        at_once = parallel or plan.study.parallel
        done = counts(study).total
        out.print(
            f"Study {plan.study.name} at preset {plan.preset}: {done} of {total} trials ended, "
            f"{at_once} at a time.\nEvaluated on {plan.split_text}.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        with (
            make_executor(executor, address=address, cpus=cpus, gpus=gpus) as started,
            BackgroundMirror(workspace, [], out, study=plan.folder) as mirror,
        ):
            driver = Driver(plan, study, truth, started, at_once, out, mirror.add)
            try:
                driver.run(total)
            except StorageInternalError as error:
                raise SuiteError(
                    f"{kept}: the storage fails ({error}).",
                    "When it answers again, the same command goes on: the trials under way are resumed.",
                ) from error
            except KeyboardInterrupt:
                out.print("Interrupted. The same command goes on: the trials under way are resumed.")
                raise
        page = write_report(plan, study)
    best = best_trials(study)
    for trial in best:
        out.print(f"Best: {summary(plan, trial)}", highlight=False, soft_wrap=True)
    if not best:
        bounds = " and keeps the constraints" if plan.study.constraints else ""
        out.print(f"No trial is complete{bounds}: there is no best one.", highlight=False, soft_wrap=True)
    out.print(f"Report: {page}", highlight=False, soft_wrap=True)
    return bool(best)


def _total(plan: StudyPlan, trials: int | None) -> int:
    total = plan.study.trials if trials is None else trials
    size = plan.study.grid_size
    if plan.study.sampler.name == "grid" and size is not None and total > size:
        raise SuiteError(f"--trials {total}: the grid of study {plan.study.name!r} has {size} points.")
    return total
