"""The command ``suite``."""

import datetime
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from suite import __version__
from suite.errors import SuiteError
from suite.extras import TRAINING, missing_extra, require
from suite.machine import require_linux
from suite.workspace import Workspace

app = typer.Typer(
    help="Train the anchor-assignment methods of four papers side by side, and regenerate their tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Preset = Annotated[
    str, typer.Option(help="Scale of the runs: smoke, mini, midi, coco-1gpu, paper or rehearsal.")
]
Experiments = Annotated[str, typer.Option(help="core, all, or ids like ltm.table2,paa.table2_left.")]
Seeds = Annotated[
    str,
    typer.Option(help="Training seeds like 0,1,2. Default: the preset's, and others that are finished."),
]
CocoRoot = Annotated[
    Path | None,
    typer.Option(
        envvar="COCO_ROOT", help="Folder with annotations/, train2017/, val2017/: replaces the preset's data."
    ),
]
ExecutorName = Annotated[
    Literal["ray", "local"], typer.Option("--executor", help="What starts the runs: ray or local.")
]
Address = Annotated[
    str | None, typer.Option(help="Address of a running Ray cluster. Default: this machine only.")
]
Cpus = Annotated[float | None, typer.Option(min=0.1, help="CPU cores to use. Default: all.")]
Gpus = Annotated[float | None, typer.Option(min=0, help="GPUs to use. Default: all.")]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="GPUs per run, which share the images of a step; 0.5: two runs share one. "
        "Default: the preset's.",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(min=1, help="Images per step; the learning rate follows linearly. Default: the preset's."),
]
Accumulate = Annotated[int, typer.Option(min=1, help="Forward passes that share a step's images.")]
Fast = Annotated[bool, typer.Option("--fast", help="Train in bfloat16, compiled: sooner, not the same run.")]
Until = Annotated[
    str,
    typer.Option(
        help="settled: after the seeds that are asked for, train those that most probably settle a claim."
    ),
]
Budget = Annotated[str, typer.Option(help="Wall time for --until settled, like 90m, 2h or 1h30m.")]
RunName = Annotated[str, typer.Argument(help="A run's id, or its directory.")]
Annotations = Annotated[Path, typer.Option(help="Annotations: a COCO instances.json.")]
Lenient = Annotated[
    bool, typer.Option("--lenient", help="Leave out what cannot be evaluated, and print how much.")
]
Slices = Annotated[
    str,
    typer.Option(
        help="all, none, or some of objects, objects_and_crowds, sparsity, crowdedness, crowdedness_mean, "
        "crowdedness_same_category, crowdedness_nearest, shape, size."
    ),
]

EvaluatorName = Annotated[
    Literal["hotcoco", "pycocotools"], typer.Option(help="pycocotools: the same numbers, slower.")
]


def console() -> Console:
    """Standard output; wide where it is not a terminal, so that lines stay whole."""
    return Console() if sys.stdout.isatty() else Console(width=200)


def _request(  # type: ignore[no-untyped-def]
    preset: str,
    experiments: str,
    seeds: str,
    coco_root: Path | None,
    gpus_per_run: float | None,
    batch: int | None,
    accumulate: int,
    fast: bool,
):
    from suite.runs.adjustments import Adjustments
    from suite.workflow import Request

    adjustments = Adjustments(gpus_per_run, batch, accumulate, fast)
    given = _seeds(seeds)
    workspace = Workspace(Path.cwd())
    return Request(preset, experiments, given, coco_root, workspace, adjustments, finished_too=not given)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        seeds = (-1,)
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise SuiteError(
            f"--seeds {text!r}: expected distinct whole numbers from 0, separated by commas, like 0,1,2."
        )
    return seeds


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"suite {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before a command."""


@app.command()
def plan(
    preset: Preset = "mini", experiments: Experiments = "core", seeds: Seeds = "", coco_root: CocoRoot = None,
    gpus_per_run: GpusPerRun = None, batch: Batch = None, accumulate: Accumulate = 1, fast: Fast = False,
    until: Until = "", budget: Budget = "",
) -> None:  # fmt: skip
    """List every run of the chosen experiments: its state, the reason, estimated time and disk."""
    from suite.settling.budget import budget_of
    from suite.workflow import make_plan, print_plan

    seconds, out = budget_of(until, budget), console()
    request = _request(preset, experiments, seeds, coco_root, gpus_per_run, batch, accumulate, fast)
    if seconds is None:
        print_plan(make_plan(request), out)
        return
    from suite.settling.session import measured_claims, open_session
    from suite.settling.words import say_next, say_open

    session = open_session(request, seconds)
    print_plan(session.view, out)
    following = session.next(seconds, measured_claims)
    say_next(session, following, out)
    say_open(following, out)


@app.command()
def run(
    preset: Preset = "mini", experiments: Experiments = "core", seeds: Seeds = "", coco_root: CocoRoot = None,
    executor: ExecutorName = "ray", address: Address = None, cpus: Cpus = None, gpus: Gpus = None,
    gpus_per_run: GpusPerRun = None, batch: Batch = None, accumulate: Accumulate = 1, fast: Fast = False,
) -> None:  # fmt: skip
    """Train and evaluate the runs that are not complete yet, side by side."""
    require(*TRAINING)
    from suite.workflow import execute, make_plan

    request = _request(preset, experiments, seeds, coco_root, gpus_per_run, batch, accumulate, fast)
    planned = make_plan(request)
    _end(execute(planned, console(), executor=executor, address=address, cpus=cpus, gpus=gpus))


@app.command()
def report(
    preset: Preset = "mini", experiments: Experiments = "core", seeds: Seeds = "", coco_root: CocoRoot = None,
    evaluator: EvaluatorName = "hotcoco",
    gpus_per_run: GpusPerRun = None, batch: Batch = None, accumulate: Accumulate = 1, fast: Fast = False,
) -> None:  # fmt: skip
    """Render the tables and figures from the runs that are there."""
    from suite.workflow import make_plan, make_report

    request = _request(preset, experiments, seeds, coco_root, gpus_per_run, batch, accumulate, fast)
    make_report(make_plan(request), console(), evaluator)


@app.command()
def reproduce(
    preset: Preset = "mini", experiments: Experiments = "core", seeds: Seeds = "", coco_root: CocoRoot = None,
    executor: ExecutorName = "ray", address: Address = None, cpus: Cpus = None, gpus: Gpus = None,
    gpus_per_run: GpusPerRun = None, batch: Batch = None, accumulate: Accumulate = 1, fast: Fast = False,
    until: Until = "", budget: Budget = "",
) -> None:  # fmt: skip
    """Run what is not complete, then render the tables and figures: `make reproduce-tables`."""
    require(*TRAINING)
    from functools import partial

    from suite.settling.budget import budget_of
    from suite.workflow import execute, make_plan, make_report, mirror_report

    seconds, out = budget_of(until, budget), console()
    request = _request(preset, experiments, seeds, coco_root, gpus_per_run, batch, accumulate, fast)
    carry_out = partial(execute, out=out, executor=executor, address=address, cpus=cpus, gpus=gpus)
    if seconds is None:
        planned = make_plan(request)
        failed = carry_out(planned)
        planned = planned.looked_at_again()
    else:
        from suite.settling.session import open_session, settle
        from suite.settling.words import say_end, say_next

        session = open_session(request, seconds)
        before, ending = settle(session, carry_out, lambda following: say_next(session, following, out))
        say_end(session, before, ending, out)
        planned, failed = session.view, session.failed
    mirror_report(planned, make_report(planned, out), out)
    if planned.preset.get("rehearsal"):
        from suite.rehearsed import end_rehearsal

        end_rehearsal(planned.runs, out)
    _end(failed)


@app.command()
def data(preset: Preset = "mini", coco_root: CocoRoot = None) -> None:
    """Generate or check a preset's dataset, and print what it holds."""
    from suite.data import histogram, prepare
    from suite.runs.presets import dataset_of

    out = console()
    dataset = dataset_of(preset, coco_root, Workspace(Path.cwd()))
    prepare(dataset)
    out.print(histogram(dataset))


@app.command()
def convert(
    dataset: Annotated[Literal["sku110k"], typer.Argument(help="What is converted.")],
    folder: Annotated[Path, typer.Argument(help="Its folder, with annotations/ and images/.")],
    out: Annotated[Path | None, typer.Option(help="The COCO root to write. Default: the folder.")] = None,
    evaluate_on: Annotated[
        Literal["val", "test"], typer.Option(help="The split that is evaluated, as val2017.")
    ] = "val",
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Cut boxes at the borders, leave out what is empty, print how many."),
    ] = False,
) -> None:
    """Make a COCO root of another dataset: annotations are converted, images linked."""
    from suite.data.sku110k import convert as carry_out

    converted = carry_out(folder, out, evaluate_on, lenient)
    for split, (images, boxes) in converted.counts.items():
        print(f"{split}: {images:,} images, {boxes:,} boxes")
    for what, count in converted.changed.items():
        print(f"{count:,} {what}")
    print(f"COCO_ROOT={converted.root}")


@app.command()
def minitrain(
    coco_root: Annotated[Path, typer.Option(help="The COCO root to draw from.")],
    out: Annotated[
        Path | None, typer.Option(help="The COCO root to write. Default: <coco-root>-minitrain.")
    ] = None,
    images: Annotated[int, typer.Option(help="Training images to draw.")] = 25_000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    ids: Annotated[Path | None, typer.Option(help="A list of image ids to take in place of a draw.")] = None,
) -> None:
    """Draw COCO minitrain: training images of a COCO root with the whole's distributions, as a root."""
    from suite.data.minitrain import minitrain as carry_out

    made = carry_out(coco_root, out, images, seed, ids)
    print(f"{made.images:,} training images, {made.boxes:,} boxes; largest differences of shares:")
    for one in made.statistics:
        print(
            f"  {one.name} ({one.groups} groups): {one.largest_difference:.3f} percentage points, {one.at} "
            f"({one.drawn:.3f} % drawn, {one.whole:.3f} % of the whole)"
        )
    print(f"COCO_ROOT={made.root}")


@app.command()
def weights(
    preset: Preset = "paper", experiments: Experiments = "core",
    names: Annotated[
        str, typer.Option(help="Weights by name, like torchvision://resnet50, whatever experiments need.")
    ] = "",
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", exists=True, file_okay=False,
            help="A folder with files copied by hand: they are taken, nothing is downloaded.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """List the pretrained weights that runs start from, and download what is missing."""
    from suite.pretrained import weights_command

    if not weights_command(preset, experiments, names, source, Workspace(Path.cwd()), console()):
        raise typer.Exit(1)


@app.command()
def adopt(
    method: Annotated[str, typer.Argument(help="The method whose detector it is, like retinanet.")],
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of mmdet 2 or 3.")],
    preset: Annotated[str, typer.Option(help="Preset whose images and test settings are used.")] = "paper",
    coco_root: CocoRoot = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="An option of the method, like backbone=r101.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="A change of the model, like model.neck.add_extra_convs=on_input."),
    ] = None,
    label: Annotated[str, typer.Option(help="What tables call it. Default: the file's name.")] = "",
    source: Annotated[str, typer.Option(help="Where it comes from: a URL, for the report.")] = "",
) -> None:
    """Evaluate a checkpoint that somebody else trained; the report shows it as not trained here."""
    require(*TRAINING)
    from suite.adoption import adopt as carry_out
    from suite.adoption import assignments

    carry_out(
        method, checkpoint, Workspace(Path.cwd()), console(), preset=preset, coco_root=coco_root,
        options=assignments(option or (), "--option"), changes=assignments(changes or (), "--set"),
        label=label, source=source,
    )  # fmt: skip


@app.command()
def doctor(
    preset: Preset = "mini", experiments: Experiments = "core", coco_root: CocoRoot = None,
    gpus_per_run: GpusPerRun = None,
) -> None:  # fmt: skip
    """Check that this machine can run a preset: one line per need, with the remedy where it fails."""
    from suite.doctor import examine

    if not examine(preset, coco_root, Workspace(Path.cwd()), console(), experiments, gpus_per_run):
        raise typer.Exit(1)


@app.command()
def calibrate(
    preset: Preset = "mini", experiments: Experiments = "core", seeds: Seeds = "", coco_root: CocoRoot = None,
    executor: ExecutorName = "ray", address: Address = None, cpus: Cpus = None, gpus: Gpus = None,
    gpus_per_run: GpusPerRun = None, batch: Batch = None, accumulate: Accumulate = 1, fast: Fast = False,
) -> None:  # fmt: skip
    """Measure a few real steps of each kind of run on this machine; `suite plan` then knows its times."""
    require(*TRAINING)
    from suite.calibrate import calibrate as carry_out
    from suite.workflow import make_plan

    out = console()
    request = _request(preset, experiments, seeds, coco_root, gpus_per_run, batch, accumulate, fast)
    planned = make_plan(request)
    _end(carry_out(planned, out, executor=executor, address=address, cpus=cpus, gpus=gpus))


@app.command()
def evaluate(
    gt: Annotations,
    detections: Annotated[
        Path, typer.Option(help="COCO results.json of any detector, or the detections.parquet of a run.")
    ],
    slices: Slices = "objects,crowdedness",
    categories: Annotated[bool, typer.Option("--categories", help="Print AP by category.")] = False,
    evaluator: EvaluatorName = "hotcoco", lenient: Lenient = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json, slices.csv and categories.csv.")
    ] = None,
) -> None:  # fmt: skip
    """COCO AP of a file of detections, on all images and on slices of them. Needs no training."""
    from suite.evaluation.report import evaluate_files, print_report, write_report

    report = evaluate_files(gt, detections, slices, evaluator, lenient)
    print_report(report, console(), categories)
    if out is not None:
        for path in write_report(report, out, gt, detections):
            print(path)


@app.command()
def compare(
    files: Annotated[
        list[Path], typer.Argument(help="COCO results.json or detections.parquet; the first is the baseline.")
    ],
    gt: Annotations,
    slices: Slices = "objects,crowdedness",
    replicates: Annotated[int, typer.Option(help="Bootstrap replicates, at least 100.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawing of images.")] = 0,
    lenient: Lenient = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for comparison.json and comparison.csv.")
    ] = None,
) -> None:  # fmt: skip
    """Compare files of detections with the first: differences with intervals over images."""
    from suite.evaluation.comparison import compare_files
    from suite.evaluation.comparison_report import print_comparison, write_comparison

    printed = console()
    with Console(stderr=True).status("reading") as status:
        comparison = compare_files(gt, files, slices, replicates, seed, lenient, status.update)
    print_comparison(comparison, printed)
    if out is not None:
        for path in write_comparison(comparison, out, gt):
            print(path)


@app.command()
def tune(
    study: Annotated[str, typer.Argument(help="A study of experiments/studies, like ltm_tpe.")],
    preset: Annotated[str | None, typer.Option(help="Scale of the runs. Default: the study's.")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all, those before included. Default: the study's.")
    ] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Trials at once. Default: the study's.")] = None,
    storage: Annotated[
        str | None, typer.Option(help="Database URL, like sqlite:///studies.db. Default: a journal file.")
    ] = None,
    coco_root: CocoRoot = None, executor: ExecutorName = "ray", address: Address = None, cpus: Cpus = None,
    gpus: Gpus = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Tune nothing: show the study on 127.0.0.1.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the dashboard.")] = 8080,
) -> None:  # fmt: skip
    """Search a method's options: begin a study or go on with it, and write its report."""
    workspace, out = Workspace(Path.cwd()), console()
    if dashboard:
        from suite.tuning.dashboard import serve

        serve(study, preset, coco_root, workspace, out, storage=storage, port=port)
        return
    require(*TRAINING)
    from suite.tuning.run import tune as carry_out

    if not carry_out(
        study, workspace, out, preset=preset, trials=trials, parallel=parallel, storage=storage,
        coco_root=coco_root, executor=executor, address=address, cpus=cpus, gpus=gpus,
    ):  # fmt: skip
        raise typer.Exit(1)


@app.command()
def export(
    run: RunName,
    test_dev: Annotated[
        bool, typer.Option("--test-dev", help="Detections on COCO's test-dev, for its evaluation server.")
    ] = False,
    coco_root: Annotated[
        Path | None,
        typer.Option(
            envvar="COCO_ROOT", help="COCO root with test-dev. Default: what the run was trained on."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder that gets a copy of the file.")] = None,
) -> None:
    """Make the zipped results file of a finished run for COCO's evaluation server."""
    if not test_dev:
        raise SuiteError("what is to be exported is not said.", f"suite export --test-dev {run}")
    require(*TRAINING)
    from suite.runs.lookup import find_run
    from suite.scheduling.export import export_test_dev

    found, printed = find_run(run, Workspace(Path.cwd())), console()
    file = export_test_dev(found, coco_root, out, printed)
    printed.print(
        f"{file}\nSend it to COCO's evaluation server (https://cocodataset.org/#upload), and import what it "
        f"answers: suite import-result {run} ANSWER",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


@app.command("import-result")
def import_result(
    run: RunName,
    answer: Annotated[
        Path, typer.Argument(help="The server's output as a file: printed summary, scores, or JSON.")
    ],
    submission: Annotated[
        Path | None, typer.Option(help="The results file that was sent. Default: the run's own export.")
    ] = None,
    server: Annotated[str, typer.Option(help="Name of the server.")] = "COCO's evaluation server",
    date: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="When it evaluated. Default: today."),
    ] = None,
) -> None:
    """Take the evaluation server's test-dev numbers of a run into the report."""
    from suite.evaluation.test_dev import import_result as take
    from suite.runs.lookup import find_run

    day = date.date() if date else datetime.date.today()
    metrics = take(find_run(run, Workspace(Path.cwd())), answer, submission, server, day)
    shown = "  ".join(f"{name} {100 * value:.1f}" for name, value in metrics.items())
    print(f"test-dev: {shown}\n`suite report` shows them.")


@app.command("mlflow-sync")
def mlflow_sync() -> None:
    """Rebuild the MLflow mirror from the run directories and reports."""
    require("mlflow")
    from suite.tracking.sync import sync_all

    sync_all(Workspace(Path.cwd()), console())


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000) -> None:
    """Open the MLflow comparison UI on 127.0.0.1."""
    require("mlflow")
    from suite.tracking.ui import serve

    serve(Workspace(Path.cwd()), port, console())


def _end(failed: list[str]) -> None:
    """Exit non-zero after naming what failed, why, and where its log is."""
    if failed:
        print(f"{len(failed)} failed:", *(f"  {line}" for line in failed), sep="\n", file=sys.stderr)
        raise typer.Exit(1)


def main() -> None:
    """Run the command; a problem that the user can mend is printed without a traceback."""
    if os.environ.get("COCO_ROOT") == "":
        del os.environ["COCO_ROOT"]
    try:
        require_linux()
        app()
    except SuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        problem = missing_extra(error)
        if problem is None:
            raise
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
