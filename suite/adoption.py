"""``suite adopt``: an evaluated run of a checkpoint that somebody else trained."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from suite.data.dataset import Dataset, prepare
from suite.errors import SuiteError
from suite.extras import quiet_imports
from suite.files import sha256
from suite.machine import cpu_count, require_disk, visible_gpus
from suite.runs.directory import RunDirectory
from suite.runs.identity import identify
from suite.runs.options import holder_of, spec_at
from suite.runs.presets import dataset_of
from suite.runs.resolve import resolve
from suite.runs.resolved import ResolvedRun
from suite.runs.resources import Resources
from suite.text import one_line
from suite.workspace import Workspace

ADOPTED_FILE = "adopted.pth"
_TRAINS = (
    "train_cfg", "train_dataloader", "optim_wrapper", "param_scheduler", "auto_scale_lr", "custom_hooks",
    "default_hooks", "val_cfg", "val_dataloader", "val_evaluator",
)  # fmt: skip
"""Keys of a config that only train."""


def assignments(texts: Iterable[str], option: str) -> dict[str, Any]:
    """``name=value`` texts as a dict; values are read as YAML.

    Raises:
        SuiteError: A text is no assignment.
    """
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            sign = ""
        if not (name.strip() and sign):
            raise SuiteError(f"{option} {text!r}: expected name=value, like backbone=r101.")
    return found


def adopt(
    method: str,
    checkpoint: Path,
    workspace: Workspace,
    out: Console,
    *,
    preset: str,
    coco_root: Path | None,
    options: Mapping[str, Any],
    changes: Mapping[str, Any],
    label: str,
    source: str,
) -> RunDirectory:
    """Evaluate a checkpoint and keep it as a run that was not trained here; print its COCO numbers.

    Args:
        method: The method whose detector it is.
        checkpoint: A checkpoint of mmdet 2 or 3.
        workspace: Where things are.
        out: Where to print.
        preset: The preset whose images and test settings it is evaluated with.
        coco_root: A COCO root that takes the place of the preset's data.
        options: Options of the method.
        changes: Dotted path in the config, below ``model`` -> value.
        label: What tables call it; empty for the file's name.
        source: Where it comes from, for the report.

    Returns:
        The run.

    Raises:
        SuiteError: Something is unknown, the checkpoint does not fit, or the evaluation fails.
    """
    from suite.evaluation.report import evaluate_files, print_report

    if not checkpoint.is_file():
        raise SuiteError(f"{checkpoint}: no such file.")
    dataset = dataset_of(preset, coco_root, workspace)
    spec = spec_at(method, preset, 0, options)
    config = _evaluating(resolve(spec, dataset), changes)
    with quiet_imports():
        from suite.training.adopted import check_sameness, fitted, read_foreign, write_adopted

        foreign = read_foreign(checkpoint)
        state = fitted(foreign, config, checkpoint.name)
        check_sameness(foreign, config["model"], dataset.categories, checkpoint.name)
    digest = sha256(checkpoint)
    gpus = min(1, len(visible_gpus()))
    resources = Resources(cpu_count(), gpus)
    given = {**config, "load_from": str(checkpoint.resolve())}
    run_id, identity = identify(spec, given, dataset, resources)
    run = RunDirectory(workspace.runs / run_id.replace(f"{method}-s0-", f"{method}-adopted-"))
    config["load_from"] = str((run.checkpoint_file.parent / ADOPTED_FILE).resolve())
    # The checksum among the options: no row asks for it, so no plan takes the run for one trained here.
    spec = replace(spec, options={**spec.options, "adopted": digest[:12]})
    about = {
        "label": label or checkpoint.stem, "file": checkpoint.name, "sha256": digest, "source": source,
        "mmdet": foreign.mmdet, "options": dict(options), "changes": dict(changes),
    }  # fmt: skip
    resolved = ResolvedRun(spec, run.run_id, identity, config, run, resources, adopted=about)
    prepare(dataset)
    if run.is_complete() and resolved.is_done:
        out.print(f"Evaluated before: {run.path}", highlight=False, soft_wrap=True)
        resolved.write(dataset)  # label and source may be others now
    else:
        workspace.runs.mkdir(parents=True, exist_ok=True)
        needed_mb = 2 * checkpoint.stat().st_size / 1e6 + 100
        require_disk(workspace.runs, needed_mb, "the run", "Free disk space.")
        resolved.write(dataset)
        write_adopted(state, Path(config["load_from"]))
        _carry_out(resolved, dataset, resources, out)
    print_report(evaluate_files(dataset.val.annotations, run.detections_file, "none"), out)
    out.print(
        f"{about['label']}: not trained here; SHA-256 {digest[:12]}; run {run.path}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return run


def _evaluating(config: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A config that only evaluates, with the changes that the user asked for."""
    kept = {key: value for key, value in config.items() if key not in _TRAINS}
    kept["model"] = _without_starts(kept["model"])
    for path, value in changes.items():
        try:
            holder, last = holder_of(kept, path)
            if not path.startswith("model."):
                raise KeyError(path)
            holder[int(last) if isinstance(holder, list) else last] = value
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise SuiteError(
                f"--set {path}={value}: the config has no {path.rpartition('.')[0] or path}.",
                "Give a path below model, like model.neck.add_extra_convs=on_input.",
            ) from error
    return kept


def _without_starts(value: Any) -> Any:
    """A model without pretrained weights: all its parameters come from the checkpoint."""
    if isinstance(value, list):
        return [_without_starts(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_starts(item) for key, item in value.items()}
    init = value.get("init_cfg")
    return {**kept, "init_cfg": None} if isinstance(init, dict) and init.get("type") == "Pretrained" else kept


def _carry_out(run: ResolvedRun, dataset: Dataset, resources: Resources, out: Console) -> None:
    """Evaluate in a child process, as every run is.

    Raises:
        SuiteError: It failed.
    """
    from suite.scheduling.executor import Job
    from suite.scheduling.live import watch
    from suite.scheduling.local import LocalExecutor

    directory = run.directory
    job = Job(run.run_id, directory.path.resolve(), resources.cpus, resources.gpus)
    out.print(f"Evaluating on {dataset.val.n_images:,} images.", highlight=False)
    with LocalExecutor() as executor:
        (outcome,) = watch(executor, [job], {run.run_id: directory}, out)
    if not outcome.ok:
        raise SuiteError(f"{run.spec.name}: {one_line(outcome.reason)}", f"See {directory.log_file}.")
