"""A finished run's detections on test-dev, made in a child process as runs are."""

import shutil
from pathlib import Path
from typing import Any

from rich.console import Console

from suite.data.test_dev import TestDev, check_test_dev
from suite.errors import SuiteError
from suite.evaluation.test_dev import FEWER, MAX_PER_IMAGE, PARTS, evaluated, export_directory, zip_file
from suite.files import sha256, write_json
from suite.machine import cpu_count, visible_gpus
from suite.runs.directory import RunDirectory
from suite.scheduling.executor import Job, is_launched, launch
from suite.scheduling.local import LocalExecutor
from suite.text import counted


def export_test_dev(run: RunDirectory, coco_root: Path | None, out: Path | None, console: Console) -> Path:
    """Make the zipped results file for COCO's evaluation server.

    Args:
        run: A finished run.
        coco_root: A COCO root with test-dev; by default the run's own.
        out: A folder that gets a copy of the file.
        console: Where it is said what is done.

    Returns:
        The file, in the run's directory or in ``out``.

    Raises:
        SuiteError: Anything that can be known before the detector is loaded; or it failed.
    """
    spec, detections = run.spec(), evaluated(run)
    test_dev = check_test_dev(_root(spec, run, coco_root))
    _check_fits(spec, run, test_dev)
    checkpoint = _checkpoint(run)
    made_of = dict(zip(PARTS, (detections, sha256(checkpoint), test_dev.sha256), strict=True))
    export = export_directory(run)
    record = export.result()
    if record is None or any(record.get(part) != made_of[part] for part in PARTS):
        write_json(export.path / "annotations.json", test_dev.as_instances())
        where = {"images": str(test_dev.folder.resolve()), "checkpoint": str(checkpoint.resolve())}
        write_json(export.spec_file, {"run_id": run.run_id, "identity": {}, **where, **made_of})
        cpus, gpus = cpu_count(), len(visible_gpus())
        machine = counted(gpus, "GPU") if gpus else f"{cpus:g} CPU cores"
        console.print(
            f"Detecting on {counted(len(test_dev.images), 'image')} with {machine}; log: {export.log_file}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        _carry_out(export, cpus, float(gpus))
    file = zip_file(run)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        file = Path(shutil.copy2(file, out / file.name))
    return file


def _root(spec: dict[str, Any], run: RunDirectory, coco_root: Path | None) -> Path:
    if coco_root is not None:
        return coco_root
    dataset = spec.get("dataset", {})
    if dataset.get("kind") != "coco" or "root" not in dataset:
        raise SuiteError(
            f"{run.path}: the run was trained on {dataset.get('name', 'other data')}, which has no test-dev.",
            "Export a run that was trained on COCO, or name a COCO root of its categories: --coco-root.",
        )
    return Path(dataset["root"])


def _checkpoint(run: RunDirectory) -> Path:
    """The run's last checkpoint, or the one that was adopted.

    Raises:
        SuiteError: It is missing.
    """
    files = sorted(run.checkpoint_file.parent.glob("*.pth"))
    if run.checkpoint_file in files:
        return run.checkpoint_file
    if len(files) != 1:
        raise SuiteError(
            f"{run.checkpoint_file}: the checkpoint is missing.", "Restore it, or train the run again."
        )
    return files[0]


def _check_fits(spec: dict[str, Any], run: RunDirectory, test_dev: TestDev) -> None:
    """Refuse a run of other categories, or with more detections an image than the server counts."""
    config = spec["identity"].get("config", {})
    try:
        classes = list(config["test_dataloader"]["dataset"]["metainfo"]["classes"])
        settings = config["model"].get("test_cfg") or {}
    except (KeyError, TypeError) as error:
        raise SuiteError(
            f"{run.spec_file}: damaged ({error}).", f"Delete {run.path} and run it again."
        ) from error
    names = [category["name"] for category in test_dev.categories]
    if names != classes:
        differing = sorted(set(names) ^ set(classes))
        raise SuiteError(
            f"{test_dev.annotations}: {len(names)} categories, the run knows {len(classes)}; "
            f"only in one of them: {', '.join(differing[:5]) or 'none, their order differs'}.",
            "Export with the COCO root that the run was trained on.",
        )
    most = settings.get("rcnn", settings).get("max_per_img", 0)
    if most > MAX_PER_IMAGE:
        raise SuiteError(
            f"{run.path}: up to {most} detections an image; the server counts {MAX_PER_IMAGE}.", FEWER
        )


def _carry_out(export: RunDirectory, cpus: float, gpus: float) -> None:
    job = Job(export.path.parent.name, export.path.resolve(), cpus, gpus)
    with LocalExecutor(cpus, gpus, _command) as started:
        started.submit(job)
        outcome = started.next_outcome()
    if outcome is not None and not outcome.ok:
        raise SuiteError(f"the export failed: {outcome.reason}", f"Log: {export.log_file}")


def _command(job: Job) -> tuple[list[str], dict[str, str]]:
    """The command that carries out an export, in as many processes as a run would have."""
    program = ["-m", "suite.training.export", str(job.directory)]
    return launch(job, [*program, "--launcher", "pytorch"] if is_launched(job) else program)
