"""What the commands do: from a request to a plan, to finished runs, to a report."""

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from suite.data.dataset import Dataset, prepare
from suite.errors import SuiteError
from suite.experiments.calibration import read_paces
from suite.experiments.costs import SCALED, TABLE
from suite.experiments.fairness import audit
from suite.experiments.plan import PlannedRun, RowAtPreset, looked_at_again, plan, seeds_of_runs
from suite.experiments.schema import Experiment, load_experiments, select
from suite.experiments.tuned import with_tuned_options
from suite.machine import cpu_count, git_commit, require_disk, visible_gpus
from suite.pretrained import provide, say_missing, stand_in
from suite.runs.adjustments import NONE, Adjustments, remarks
from suite.runs.configs import method_info, preset_info
from suite.runs.environments import mixes
from suite.runs.presets import dataset_of, report_name, resources_of
from suite.runs.resolve import preset_batch
from suite.runs.weights import WeightStore, known_weights, start_weights
from suite.text import counted, duration, megabytes, one_line
from suite.workspace import Workspace

if TYPE_CHECKING:
    from suite.evaluation.coco_ap import Evaluator
    from suite.reporting.inputs import ExperimentInput, MethodInput, ReportInput, RunInput
    from suite.scheduling.executors import ExecutorName


@dataclass(frozen=True)
class Request:
    """What a command was asked for.

    Attributes:
        preset: Name of the preset.
        experiments: ``core``, ``all`` or ids separated by commas.
        seeds: Training seeds; empty for the preset's own.
        coco_root: A COCO root that takes the place of the preset's dataset.
        workspace: Where things are.
        adjustments: What differs from the preset's GPUs and images per step.
        finished_too: Whether finished runs of other seeds than these count as well.
    """

    preset: str
    experiments: str
    seeds: tuple[int, ...]
    coco_root: Path | None
    workspace: Workspace
    adjustments: Adjustments = NONE
    finished_too: bool = False


@dataclass(frozen=True)
class Plan:
    """The runs a request needs, and all that its report needs to know."""

    request: Request
    known: list[Experiment]
    """Every experiment of the project."""
    experiments: list[Experiment]
    """The chosen ones, tuned rows with the options that their studies found."""
    tuned: dict[str, dict[str, str]]
    """Experiment -> label of a tuned row -> what has to be said beside its numbers."""
    seeds: tuple[int, ...]
    dataset: Dataset
    runs: list[PlannedRun]
    rows: dict[tuple[str, str], RowAtPreset]
    """Experiment and label of a row -> what becomes of it at the preset."""
    preset: dict[str, Any]

    @property
    def to_do(self) -> list[PlannedRun]:
        """The runs that are not complete."""
        return [run for run in self.runs if run.state != "done"]

    @property
    def seconds(self) -> float:
        """Estimated wall time of what is to do, in seconds: side by side as far as this machine can.

        Runs that need more GPUs than it has count one after the other.
        """
        return wall_seconds((share_of_machine(run), run.seconds) for run in self.to_do)

    @property
    def report_name(self) -> str:
        """Folder of the report, see :func:`suite.runs.presets.report_name`."""
        return report_name(self.request.preset, self.dataset, self.request.adjustments)

    @property
    def report_folder(self) -> Path:
        """The report's folder."""
        return self.request.workspace.reports / self.report_name

    @property
    def remarks(self) -> list[str]:
        """What the adjustments of the request mean for its runs, one sentence each."""
        return self._remarks({run.spec.method for run in self.runs})

    def remarks_of(self, experiment: Experiment) -> list[str]:
        """What they mean for the runs of an experiment."""
        of_it = {run.spec.method for run in self.runs for use in run.uses if use.experiment == experiment.id}
        return self._remarks(of_it)

    def _remarks(self, methods: set[str]) -> list[str]:
        preset, asked = self.request.preset, self.request.adjustments
        return remarks(
            asked,
            {method: resources_of(method, preset) for method in sorted(methods)},
            {method: resources_of(method, preset, asked) for method in sorted(methods)},
            {method: preset_batch(method, preset) for method in sorted(methods)},
        )

    @property
    def weights(self) -> WeightStore:
        """The pretrained weights that runs start from."""
        return WeightStore(self.request.workspace.weights)

    @property
    def used_weights(self) -> WeightStore:
        """Where the runs find them: a rehearsal has random numbers in place of those that are missing."""
        if self.preset.get("rehearsal"):
            return WeightStore(self.request.workspace.data / "rehearsal-weights", random=True)
        return self.weights

    @property
    def start_weights(self) -> list[str]:
        """What the runs that will train start from."""
        return list(dict.fromkeys(name for run in self.to_train for name in start_weights(run.config)))

    @property
    def to_train(self) -> list[PlannedRun]:
        """The runs to do that do not take over a training that is there."""
        planned = {run.run_id for run in self.to_do}
        own = [run for run in self.to_do if run.donor is None or run.donor.run_id in planned]
        return [run for run in own if run.state != "running"]

    def of_seeds(self, seeds: tuple[int, ...]) -> "Plan":
        """The plan of these seeds alone, with the runs of other seeds that are finished."""
        runs = [run for run in self.runs if run.spec.seed in seeds or run.state == "done"]
        return replace(self, seeds=seeds, runs=runs)

    def looked_at_again(self) -> "Plan":
        """The same plan with the states that the runs have now, after an executor had them."""
        return replace(self, runs=[looked_at_again(run, self.dataset) for run in self.runs])


def share_of_machine(run: PlannedRun) -> float:
    """Which part of this machine a run occupies, in (0, 1]; 1 for a run that needs more than it has."""
    if run.resources.gpus:
        gpus = len(visible_gpus())
        return min(1.0, run.resources.gpus / gpus) if gpus else 1.0
    return 1 / max(1, cpu_count() // run.resources.cpus)


def wall_seconds(runs: Iterable[tuple[float, float]]) -> float:
    """Wall time of runs side by side: each with its share of the machine and its seconds; 0 without any."""
    listed = list(runs)
    return max([sum(share * seconds for share, seconds in listed), *(seconds for _, seconds in listed)])


def make_plan(request: Request) -> Plan:
    """Validate the request and plan its runs; starts nothing."""
    from suite.reporting.check import check_experiments
    from suite.reporting.paper_numbers import paper_numbers

    info = preset_info(request.preset)
    known = load_experiments(request.workspace.experiments)
    experiments, tuned = [], {}
    for experiment in select(known, request.experiments):
        experiment, notes = with_tuned_options(experiment, request.workspace.root)
        experiments.append(experiment)
        tuned[experiment.id] = notes
    check_experiments(experiments, request.preset, paper_numbers())
    dataset = dataset_of(request.preset, request.coco_root, request.workspace)
    seeds = request.seeds or tuple(info["seeds"])
    others = seeds_of_runs(request.workspace.runs, request.preset) if request.finished_too else set()
    found = plan(
        experiments, request.preset, (*seeds, *sorted(others - {*seeds})), dataset, request.workspace.runs,
        request.adjustments, read_paces(request.workspace),
    )  # fmt: skip
    planned = Plan(request, known, experiments, tuned, seeds, dataset, found.runs, found.rows, info)
    return planned.of_seeds(seeds)


def print_plan(planned: Plan, console: Console) -> None:
    """Print every run with its state, the reason, and its estimated time and disk."""
    title = " ".join([f"preset {planned.request.preset}", *planned.request.adjustments.variables])
    table = Table(title=f"{title} on {planned.dataset.name}", title_justify="left")
    for heading in ("run", "state", "because", "time", "disk", "used by"):
        table.add_column(heading, justify="right" if heading in ("time", "disk") else "left", overflow="fold")
    for run in planned.runs:
        uses = ", ".join(dict.fromkeys(use.experiment for use in run.uses))
        time = duration(run.seconds) if run.seconds else "-"
        disk = megabytes(run.disk_mb) if run.disk_mb else "-"
        table.add_row(escape(run.spec.name), run.state, escape(run.reason), time, disk, uses)
    console.print(table)
    for text in planned.remarks:
        console.print(text, highlight=False)
    console.print(
        f"{counted(len(planned.runs), 'run')}, {len(planned.to_do)} to do: {time_in_words(planned)}, "
        f"{megabytes(sum(run.disk_mb for run in planned.to_do))} of disk.",
        soft_wrap=True,
    )
    for text in sources_in_words(planned):
        console.print(text, highlight=False, soft_wrap=True)
    lacking = planned.weights.missing(planned.start_weights)
    missing = {name: why for name, why in lacking.items() if not planned.weights.made_here(name)}
    for name in lacking.keys() - missing.keys():
        console.print(
            f"{name} is pretrained before the first run starts, in about a minute.", highlight=False
        )
    say_missing(missing, planned.weights, console)
    if any(name in known_weights() for name in missing):
        console.print("`suite run` and `suite reproduce` download them before the first run starts.")


def time_in_words(planned: Plan) -> str:
    """How long what is to do takes, here or, where this machine cannot, on the preset's hardware."""
    needed = max((run.resources.gpus for run in planned.to_do), default=0.0)
    gpus = len(visible_gpus())
    if needed <= gpus:
        return f"about {duration(planned.seconds)} on this machine"
    total = duration(sum(min(1.0, run.resources.gpus) * run.seconds for run in planned.to_do))
    here = counted(gpus, "GPU") if gpus else "none"
    return f"about {total} in all on {counted(math.ceil(needed), 'GPU')} (this machine has {here})"


def sources_in_words(planned: Plan) -> list[str]:
    """Where the estimated times are from: one line."""
    counts = Counter(run.source for run in planned.to_do if run.seconds)
    if not counts:
        return []
    texts = [f"{counted(count, 'run')} by {source}" for source, count in counts.most_common()]
    by_table = any(source in (TABLE, SCALED) for source in counts)
    command = " ".join(["make calibrate", *_variables(planned.request, planned.request.experiments)])
    hint = f" `{command}` measures them on this machine." if by_table else ""
    return [f"Times: {'; '.join(texts)}.{hint}"]


def _variables(request: Request, experiments: str) -> list[str]:
    """A request as variables of make."""
    parts = [f"PRESET={request.preset}", f"EXPERIMENTS={experiments}"]
    if request.seeds:
        parts.append(f"SEEDS={','.join(map(str, request.seeds))}")
    if request.coco_root is not None:
        parts.append(f"COCO_ROOT={shlex.quote(str(request.coco_root))}")
    return parts + request.adjustments.variables


def prepare_runs(planned: Plan) -> None:
    """Write ``spec.json`` and ``config.py`` of every run that is to do, before any training starts.

    Raises:
        SuiteError: The disk is too small, or a run directory cannot be written.
    """
    folder = planned.request.workspace.runs
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(
            f"{folder}: cannot be made ({error.strerror}).", "Make its parent writable."
        ) from error
    if planned.to_do:
        require_disk(
            folder,
            # An epoch's checkpoint is written beside the one before.
            sum(run.disk_mb for run in planned.to_do) + max(run.disk_mb for run in planned.to_do),
            counted(len(planned.to_do), "run"),
            "Free disk space, or choose fewer experiments or seeds.",
        )
    for run in planned.to_do:
        if run.state != "running":  # whoever works on it has written them
            run.write(planned.dataset, planned.used_weights)


def command_line(request: Request, experiment: str) -> str:
    """The command that makes one experiment's runs and renders it again."""
    return " ".join(["make reproduce-tables", *_variables(request, experiment)])


def execute(
    planned: Plan,
    out: Console,
    *,
    executor: "ExecutorName",
    address: str | None,
    cpus: float | None,
    gpus: float | None,
) -> list[str]:
    """Carry out what is to do: data first, then all runs side by side, mirrored to MLflow.

    Returns:
        One line for each run that failed: its name, why, and where its log is.

    Raises:
        SuiteError: Something is wrong that can be known before a training starts.
    """
    from suite.runs.sharing import take_over
    from suite.scheduling.executor import Job
    from suite.scheduling.executors import make_executor
    from suite.scheduling.live import watch
    from suite.tracking.background import BackgroundMirror

    for notice in planned.dataset.notices:
        out.print(f"note: {notice}", markup=False, highlight=False)
    if not planned.to_do:
        prepare(planned.dataset)  # the report needs its annotations
        what = f"All {len(planned.runs)} runs are" if len(planned.runs) > 1 else "The run is"
        out.print(f"{what} complete.", highlight=False)
        return []
    require_gpus(planned, executor, address, gpus)
    planned, without_weights = with_weights(planned, out)
    prepare_runs(planned)
    prepare(planned.dataset)
    by_id = {run.run_id: run for run in planned.to_do}
    jobs = [Job.of(run) for run in by_id.values()]
    for text in planned.remarks:
        out.print(text, highlight=False)
    out.print(
        f"{len(jobs)} of {counted(len(planned.runs), 'run')} to do, about {duration(planned.seconds)}.",
        highlight=False,
    )
    directories = {name: run.directory for name, run in by_id.items()}
    donors = {}
    for run in by_id.values():
        if run.donor is not None and run.donor.run_id in by_id:
            donors[run.run_id] = run.donor.run_id
        elif run.donor is not None:
            take_over(run.donor, run.directory)
    with (
        make_executor(executor, address=address, cpus=cpus, gpus=gpus) as started,
        BackgroundMirror(planned.request.workspace, list(directories.values()), out),
    ):
        outcomes = watch(started, jobs, directories, out, donors)
    failed = [(by_id[outcome.run_id], one_line(outcome.reason)) for outcome in outcomes if not outcome.ok]
    lines = [f"{run.spec.name}: {reason} (log: {run.directory.log_file})" for run, reason in failed]
    return without_weights + lines


def with_weights(planned: Plan, out: Console) -> tuple[Plan, list[str]]:
    """Download the pretrained weights that are missing.

    Returns:
        The plan without the runs that have nothing to start from, and a line for each of those.

    Raises:
        SuiteError: No run is left.
    """
    missing = provide(planned.weights, planned.start_weights, out)
    say_missing(missing, planned.weights, out)
    if planned.preset.get("rehearsal"):
        stand_in(planned.used_weights, planned.weights, planned.start_weights, out)
        missing = planned.used_weights.missing(missing)
    if not missing:
        return planned, []
    lacking = {
        run.run_id: [name for name in start_weights(run.config) if name in missing]
        for run in planned.to_train
    }
    lines = [
        f"{run.spec.name}: pretrained weights are missing: {', '.join(lacking[run.run_id])}"
        for run in planned.to_train
        if lacking[run.run_id]
    ]
    left = [run for run in planned.runs if not lacking.get(run.run_id)]
    left = [run for run in left if not (run.donor and lacking.get(run.donor.run_id))]
    planned = replace(planned, runs=left)
    if not planned.to_do:
        raise SuiteError("no run can start: pretrained weights are missing.", "See above what mends it.")
    out.print(f"{counted(len(lines), 'run')} cannot start without them; the others do.", highlight=False)
    return planned, lines


def require_gpus(planned: Plan, executor: "ExecutorName", address: str | None, gpus: float | None) -> None:
    """Make sure that this machine has the GPUs of each run, before anything is written or read.

    Of a Ray cluster (``address``) the executor says it, when it has joined.

    Raises:
        SuiteError: It has not.
    """
    if address is not None and executor == "ray":
        return
    here = len(visible_gpus()) if gpus is None else int(gpus)
    needed = max(planned.to_do, key=lambda run: run.resources.gpus).resources.gpus
    fewer = (
        f"GPUS={here} trains each run on what there is, with the same images per step; else " if here else ""
    )
    if needed > here:
        raise SuiteError(
            f"preset {planned.request.preset!r}: a run needs {needed:g} GPUs; this machine has "
            f"{here or 'none'}.",
            f"{fewer}another preset, like PRESET=mini, or a Ray cluster: ADDRESS=<host:port>.",
        )


def make_report(planned: Plan, out: Console, evaluator: "Evaluator" = "hotcoco") -> Path:
    """Render the tables and figures of the plan's experiments from the runs that are complete.

    Args:
        planned: The plan.
        out: Where the report's place is printed.
        evaluator: ``pycocotools`` gives the same numbers, more slowly.

    Returns:
        The report's folder.
    """
    from suite.reporting.render import render

    render(report_input(planned), planned.report_folder, evaluator)
    out.print(f"Report: {planned.report_folder / 'index.html'}", highlight=False, soft_wrap=True)
    return planned.report_folder


def report_input(planned: Plan) -> "ReportInput":
    """What the report of a plan is made from."""
    from suite.reporting.adopted import adopted_runs
    from suite.reporting.inputs import ReportInput

    chosen = {experiment.id for experiment in planned.experiments}
    return ReportInput(
        planned.request.preset,
        planned.dataset,
        _experiment_inputs(planned),
        bool(planned.preset.get("full_scale")) and not planned.preset.get("rehearsal"),
        git_commit(planned.request.workspace.root),
        [(one, command_line(planned.request, one.id)) for one in planned.known if one.id not in chosen],
        adopted_runs(planned.request.workspace.runs, planned.request.preset, planned.dataset),
        planned.request.workspace.runs,
        _method_inputs(planned),
    )


def _experiment_inputs(planned: Plan) -> "list[ExperimentInput]":
    """What each chosen experiment is rendered from."""
    from suite.reporting.inputs import ExperimentInput

    runs: dict[tuple[str, str], list[RunInput]] = {}
    configs: dict[str, dict[str, dict[str, Any]]] = {}
    for run in planned.runs:
        given = _run_input(run)
        for use in run.uses:
            runs.setdefault((use.experiment, use.row), []).append(given)
            configs.setdefault(use.experiment, {}).setdefault(use.row, run.identity.config)
    inputs = []
    for experiment in planned.experiments:
        unmeasurable, notes = _at_preset(planned, experiment)
        of_rows = {row.label: runs.get((experiment.id, row.label), []) for row in experiment.rows}
        done = {label: [run.directory for run in given if run.directory] for label, given in of_rows.items()}
        inputs.append(
            ExperimentInput(
                experiment,
                of_rows,
                command_line(_request_of(planned, of_rows), experiment.id),
                unmeasurable,
                audit(experiment, configs.get(experiment.id, {})),
                [*planned.remarks_of(experiment), *notes, *mixes(done)],
                planned.tuned[experiment.id],
            )
        )
    return inputs


def _request_of(planned: Plan, of_rows: Mapping[str, "Sequence[RunInput]"]) -> Request:
    """The request, with the seeds that are there where these are more than it asks for."""
    seeds = {run.seed for runs in of_rows.values() for run in runs}
    if seeds <= {*planned.seeds}:
        return planned.request
    return replace(planned.request, seeds=tuple(sorted(seeds)))


def _method_inputs(planned: Plan) -> "list[MethodInput]":
    """The methods that the chosen experiments and the core train, by their own options, each with its runs.

    The core's are there whatever was chosen: rendering one table does not empty the table of methods.
    """
    from suite.reporting.inputs import MethodInput

    request = planned.request
    core = [one for one in planned.known if one.core]
    arguments = request.preset, planned.seeds, planned.dataset, request.workspace.runs, request.adjustments
    try:
        others = plan(core, *arguments).runs
    except SuiteError:  # GPUS or BATCH may go with the chosen runs and not with these
        others = []
    found: dict[tuple[str, str], dict[str, PlannedRun]] = {}
    for run in (*planned.runs, *others):
        if not run.spec.options.keys() - {"schedule"}:
            method = run.spec.method, run.spec.options.get("schedule", "")
            found.setdefault(method, {})[run.run_id] = run
    return [
        MethodInput(f"{method_info(method)['label']} {schedule}".strip(), [*map(_run_input, runs.values())])
        for (method, schedule), runs in found.items()
    ]


def _run_input(run: PlannedRun) -> "RunInput":
    from suite.reporting.inputs import RunInput

    directory = run.directory if run.state == "done" else None
    return RunInput(run.spec.seed, run.run_id, run.state, directory, run.reason)


def _at_preset(planned: Plan, experiment: Experiment) -> tuple[dict[str, str], list[str]]:
    """Which rows cannot be measured, and why; and what the preset leaves out of the others' recipes."""
    command = f"make reproduce-tables PRESET=paper EXPERIMENTS={experiment.id} COCO_ROOT=/path/to/"
    command += experiment.dataset or "coco"
    rows = {row.label: planned.rows[experiment.id, row.label] for row in experiment.rows}
    reasons = {label: f"{row.why_not}: {command}" for label, row in rows.items() if row.why_not}
    left_out = sorted({one for row in rows.values() for one in row.left_out})
    if not left_out:
        return reasons, []
    return reasons, [
        f"Preset {planned.request.preset} trains by its own schedule and scale in place of the paper's "
        f"({', '.join(left_out)})."
    ]


def mirror_report(planned: Plan, folder: Path, out: Console) -> None:
    """Send a rendered report to MLflow; a store that does not answer costs a warning."""
    from suite.tracking.mlflow_mirror import Mirror, short_reason

    try:
        Mirror(planned.request.workspace).sync_report(folder, planned.request.preset)
    except Exception as error:  # whatever MLflow raises: its mirror is never worth a failure
        out.print(f"warning: MLflow: {short_reason(error)}; `suite mlflow-sync` sends the report later.")
