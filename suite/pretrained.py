"""``suite weights``, and what other commands do about pretrained weights before the first run starts."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from suite.errors import SuiteError
from suite.experiments.plan import row_at_preset
from suite.experiments.schema import load_experiments, select
from suite.extras import quiet_imports
from suite.locks import locked
from suite.machine import require_disk
from suite.runs.configs import preset_info
from suite.runs.download import copy_in_place, download
from suite.runs.resolve import compose
from suite.runs.spec import RunSpec
from suite.runs.weights import Weights, WeightStore, known_weights, start_weights, weights_named
from suite.workspace import Workspace


def needed_weights(preset: str, experiments: str, workspace: Workspace) -> dict[str, int]:
    """What the runs of experiments start from, with the number of runs of one seed; needs no data.

    Raises:
        SuiteError: The preset, an experiment, a method or an option is unknown.
    """
    preset_info(preset)
    specs: dict[object, RunSpec] = {}
    for experiment in select(load_experiments(workspace.experiments), experiments):
        for row in experiment.rows:
            specs |= {spec.key: spec for spec in row_at_preset(row, preset, [0]).specs}
    return dict(Counter(name for spec in specs.values() for name in start_weights(compose(spec))))


def weights_command(
    preset: str, experiments: str, names: str, source: Path | None, workspace: Workspace, out: Console
) -> bool:
    """List what a request needs, and have what is not there yet.

    Args:
        preset: Name of the preset.
        experiments: ``core``, ``all`` or ids separated by commas.
        names: Names of weights separated by commas, in place of those that the experiments need.
        source: A folder with files copied by hand, which is then looked into in place of the network.
        workspace: Where things are.
        out: Where to print.

    Returns:
        Whether all that is needed is there now.

    Raises:
        SuiteError: A name is unknown.
    """
    store = WeightStore(workspace.weights)
    wanted = [weights_named(name.strip()).name for name in names.split(",") if name.strip()]
    needed = dict.fromkeys(wanted, 0) if wanted else needed_weights(preset, experiments, workspace)
    if not needed:
        out.print(f"Preset {preset} starts from no pretrained weights.", highlight=False)
        return True
    failed = provide(store, needed, out, source)
    table = Table(title=f"pretrained weights in {store.folder}", title_justify="left")
    for heading in ("weights", "file", "size", "runs per seed", ""):
        table.add_column(heading, overflow="fold")
    for name, runs in needed.items():
        known = known_weights().get(name)
        size = f"{known.megabytes} MB" if known else "-"
        file = known.file if known else name
        table.add_row(name, file, size, str(runs or "-"), "missing" if name in failed else "ready")
    out.print(table)
    say_missing(failed, store, out)
    return not failed


def say_missing(missing: Mapping[str, str], store: WeightStore, out: Console) -> None:
    """Print what is missing, why, and what mends it."""
    for name, problem in missing.items():
        out.print(f"missing: {name}: {problem}", markup=False, highlight=False, soft_wrap=True)
        out.print(f"  -> {store.remedy(name)}", markup=False, highlight=False, soft_wrap=True)


def provide(
    store: WeightStore, names: Iterable[str], out: Console, source: Path | None = None
) -> dict[str, str]:
    """Download the weights that are missing, once, or take them from a folder.

    Args:
        store: Where they belong.
        names: What configs start from; paths, and what is there, are left alone.
        source: A folder to take them from in place of the network.
        out: Where the progress is shown.

    Returns:
        What is still missing, with the reason.
    """
    failed: dict[str, str] = {}
    for name, problem in store.missing(names).items():
        if name not in known_weights():
            failed[name] = problem
            continue
        try:
            _provide(store, weights_named(name), out, source)
        except SuiteError as error:
            failed[name] = error.message
    return failed


def stand_in(store: WeightStore, true: WeightStore, names: Iterable[str], out: Console) -> None:
    """Fill the folder of weights that a rehearsal uses: with the true files, and random ones in their place.

    Args:
        store: The rehearsal's, which takes random numbers too.
        true: Where the true files are; those are linked.
        names: What configs start from.
        out: Where what is random is said.
    """
    with quiet_imports():
        from suite.training.weight_files import write_random_weights

    known = [name for name in names if name in known_weights()]
    missing = true.missing(known)
    store.folder.mkdir(parents=True, exist_ok=True)
    for name in known:
        path = store.path(name)
        if name not in missing and path.resolve() != true.path(name).resolve():
            path.unlink(missing_ok=True)
            path.symlink_to(true.path(name).resolve())
    write_random_weights(store.folder, missing)
    if missing:
        out.print(
            f"The rehearsal starts from random numbers in place of {', '.join(missing)}.",
            highlight=False,
        )


def _provide(store: WeightStore, weights: Weights, out: Console, source: Path | None) -> None:
    folder = store.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"{folder}: cannot be made ({error.strerror}).") from error
    with locked(folder / f".{weights.file}.lock"):  # another command may be fetching the same file
        if not store.problem(weights.name):
            return
        target = store.path(weights.name)
        if target.is_file():
            aside = target.with_name(f"{target.name}.wrong")
            target.replace(aside)
            out.print(f"note: {target} was not {weights.name}: kept as {aside.name}", highlight=False)
        require_disk(folder, 2 * weights.megabytes, weights.name, "Free disk space.")
        if weights.made_by:
            return _make(weights, target, out)
        offered = _taken(weights, source) if source is not None else None
        if weights.convert:
            from suite.training.weight_files import convert_detectron

            if offered is None:
                offered = folder / weights.offered
                if not offered.is_file():
                    _download(weights, offered, "", out)
            convert_detectron(offered, store, weights.name)
            if source is None:
                offered.unlink()  # nobody needs what was converted
        elif offered is not None:
            copy_in_place(offered, target, weights.sha256)
        else:
            _download(weights, target, weights.sha256, out)
        out.print(f"{weights.name}: {target}", highlight=False, soft_wrap=True)


def _make(weights: Weights, target: Path, out: Console) -> None:
    """Have a child process make weights: its one thread, and torch, are none of this process's."""
    out.print(f"Pretraining {weights.name} on generated shapes, once, about a minute.", highlight=False)
    command = [sys.executable, "-m", "suite.training.backbone_pretraining", str(target), weights.name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = ended.stderr.strip().splitlines()[-1:] or [f"exit status {ended.returncode}"]
        raise SuiteError(f"cannot be made: {last[0]}")
    out.print(f"{weights.name}: {target}", highlight=False, soft_wrap=True)


def _taken(weights: Weights, source: Path) -> Path:
    """The file of some weights in a folder of files copied by hand."""
    path = source / weights.offered
    if not path.is_file():
        raise SuiteError(f"{source} holds no {weights.offered}")
    return path


def _download(weights: Weights, target: Path, checksum: str, out: Console) -> None:
    """Download from the first server that has the file.

    Raises:
        SuiteError: None has; the message is one line for each.
    """
    problems = []
    with Progress(console=out, transient=True) as progress:
        task = progress.add_task(f"{weights.offered} ({weights.megabytes} MB)", total=None)

        def show(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        for url in weights.urls:
            try:
                return download(url, target, checksum, show)
            except SuiteError as error:
                problems.append(error.message)
    raise SuiteError("; ".join(problems))
