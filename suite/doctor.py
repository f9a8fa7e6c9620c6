"""Checks that this machine has what a preset needs: one line a need, with the remedy where it fails."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.machine import DISK_RESERVE_MB, cpu_count, free_disk_mb
from suite.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

    from suite.data.dataset import Dataset

PROBE_SECONDS = 180

# In a child process: a broken compiled library may end its process, and the imports cost memory for nothing.
# Each result goes out at once, so that the parent knows what came before such an end.
PROBE = """
import json, os, sys

def probe(name, act):
    try:
        value = {"ok": True, **act()}
    except BaseException as error:
        value = {"ok": False, "error": f"{type(error).__name__}: {error}".splitlines()[0]}
    print("probe " + json.dumps([name, value]), flush=True)

def torch_():
    import torch
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"version": torch.__version__, "cuda": torch.version.cuda, "gpus": gpus}

def operators(device):
    import mmcv, mmcv._ext, torch
    from mmcv.ops import nms
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10]], device=device)
    assert len(nms(boxes, torch.tensor([0.9, 0.8], device=device), 0.5)[1]) == 1, "nms gives a wrong answer"
    return {"version": mmcv.__version__}

def package(name):
    return {"version": __import__(name).__version__}

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
probe("torch", torch_)
probe("mmcv operators", lambda: operators("cpu"))
if int(sys.argv[1]):
    probe("mmcv operators on the GPU", lambda: operators("cuda"))
for name in ("mmdet", "ray", "mlflow", "hotcoco"):
    probe(name, lambda: package(name))
"""

REBUILD = "Run `rm -r .venv && make setup`: it compiles mmcv for the torch that is installed."
REMEDIES = {
    "torch": "Run `make setup`; the log is .venv/setup-logs/torch.log.",
    "mmcv operators": REBUILD,
    "mmcv operators on the GPU": f"mmcv was compiled without CUDA or for another one. {REBUILD}",
}


@dataclass(frozen=True)
class Check:
    """One need.

    Attributes:
        name: What is needed.
        ok: Whether this machine has it.
        detail: What was found.
        remedy: What to do if it has not; empty if it has.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def examine(
    preset: str,
    coco_root: Path | None,
    workspace: Workspace,
    console: "Console",
    experiments: str = "core",
    gpus: float | None = None,
) -> bool:
    """Check and print every need of a preset.

    Args:
        preset: Name of the preset.
        coco_root: A COCO root that takes the place of the preset's data.
        workspace: Where runs and data are.
        console: Where to print.
        experiments: ``core``, ``all`` or ids, whose pretrained weights are looked for.
        gpus: GPUs per run; None for the preset's.

    Returns:
        Whether the machine has all that is needed.

    Raises:
        SuiteError: There is no such preset.
    """
    from suite.experiments.costs import typical_disk_mb
    from suite.runs.adjustments import Adjustments
    from suite.runs.configs import names, preset_info
    from suite.runs.options import at_preset
    from suite.runs.presets import dataset_of

    info = preset_info(preset)
    info["gpus"] = info["gpus"] if gpus is None else Adjustments(gpus=gpus).gpus
    try:
        dataset: Dataset | SuiteError = dataset_of(preset, coco_root, workspace)
    except SuiteError as error:
        dataset = error
    methods = [name for name in names("methods") if not at_preset(name, {}, preset).why_not]
    runs = len(methods) * len(info["seeds"])
    results = checks(info, dataset, workspace, probe(gpu=info["gpus"] > 0), runs, typical_disk_mb(preset))
    results += _weights(preset, experiments, workspace)
    for check in results:
        mark = "[green]ok  [/green]" if check.ok else "[red]FAIL[/red]"
        console.print(mark, end=" ")
        console.print(f"{check.name}: {check.detail}", markup=False, highlight=False)
        if not check.ok:
            console.print(f"     -> {check.remedy}", markup=False, highlight=False)
    return all(check.ok for check in results)


def checks(
    preset: Mapping[str, Any],
    dataset: "Dataset | SuiteError",
    workspace: Workspace,
    probed: Mapping[str, Mapping[str, Any]],
    runs: int,
    disk_mb: float,
) -> list[Check]:
    """Judge what was found by what a preset needs.

    Args:
        preset: The preset's ``suite`` section.
        dataset: Its data, or why there are none.
        workspace: Where runs and data are.
        probed: What :func:`probe` found.
        runs: How many runs the disk should hold.
        disk_mb: Disk of each, in MB.
    """
    return [
        _python(),
        _cores(preset),
        *(_imported(name, found) for name, found in probed.items()),
        _gpus(preset, probed.get("torch", {})),
        _disk(disk_mb, workspace, runs),
        _data(dataset),
    ]


def probe(*, gpu: bool) -> dict[str, dict[str, Any]]:
    """Import the heavy packages in a child process and use mmcv's compiled operators once.

    Args:
        gpu: Use them on a GPU, too.

    Returns:
        Name -> ``ok``, ``version`` or ``error``, and for torch also ``cuda`` and ``gpus``.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, str(int(gpu))],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
        )
        output, end = done.stdout, f"exit status {done.returncode}"
        failed = done.returncode != 0
    except subprocess.TimeoutExpired as error:
        output, end = (error.stdout or b"").decode(), f"no answer in {PROBE_SECONDS} s"
        failed = True
    answers = [json.loads(line[6:]) for line in output.splitlines() if line.startswith("probe ")]
    found: dict[str, dict[str, Any]] = dict(answers)
    if failed:
        after = f"after {list(found)[-1]}" if found else "at its start"
        found["imports"] = {"ok": False, "error": f"the importing process ended {after}: {end}"}
    return found


def _imported(name: str, found: Mapping[str, Any]) -> Check:
    if not found["ok"]:
        return Check(name, False, str(found["error"]), REMEDIES.get(name, "Run `make setup`."))
    return Check(name, True, str(found["version"]))


def _python() -> Check:
    found = platform.python_version()
    ok = (3, 10) <= sys.version_info[:2] <= (3, 12)
    return Check(
        "python", ok, found, "Run `rm -r .venv && make setup PYTHON=python3.11` (3.10, 3.11 or 3.12)."
    )


def _cores(preset: Mapping[str, Any]) -> Check:
    cores, needed = cpu_count(), preset["cpus"]
    if preset["gpus"]:  # loader workers follow the cores
        return Check("cpu", True, f"{cores:g} cores; {needed} per run are of use")
    remedy = f"A run of this preset is given {needed} cores: use a larger machine or another preset."
    return Check("cpu", cores >= needed, f"{cores:g} cores, {needed} per run", remedy)


def _gpus(preset: Mapping[str, Any], torch: Mapping[str, Any]) -> Check:
    needed, gpus = preset["gpus"], torch.get("gpus", [])
    found = ", ".join(f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus)) or "none found"
    if not needed:
        return Check("gpu", True, f"not needed ({found})")
    if torch.get("ok") and not torch.get("cuda"):
        remedy = (
            "This torch is a build for CPUs: run `rm -r .venv && make setup`, with TORCH_INDEX naming CUDA's."
        )
    else:
        remedy = "See `nvidia-smi` and CUDA_VISIBLE_DEVICES, or choose another preset, like PRESET=mini."
        if gpus:
            remedy = f"GPUS={len(gpus)} trains on what there is, with the same images per step. {remedy}"
    return Check("gpu", len(gpus) >= needed, f"{found}; {needed:g} needed", remedy)


def _disk(disk_mb: float, workspace: Workspace, runs: int) -> Check:
    folder = next(path for path in (workspace.runs, *workspace.runs.resolve().parents) if path.exists())
    free, needed = free_disk_mb(folder), runs * disk_mb + DISK_RESERVE_MB
    detail = f"{free / 1e3:.1f} GB free in {folder}; {runs} runs need about {needed / 1e3:.1f} GB"
    if not os.access(folder, os.W_OK):
        return Check("disk", False, f"{folder} cannot be written", "Make it writable for you.")
    return Check("disk", free >= needed, detail, "Free disk space, or choose fewer experiments or seeds.")


def _weights(preset: str, experiments: str, workspace: Workspace) -> list[Check]:
    """One line for each file of pretrained weights."""
    from suite.pretrained import needed_weights
    from suite.runs.weights import WeightStore

    store = WeightStore(workspace.weights)
    try:
        names = needed_weights(preset, experiments, workspace)
    except SuiteError as error:
        return [Check("weights", False, error.message, error.remedy or "Correct the experiment.")]
    missing = store.missing(names)
    return [
        Check(f"weights {name}", True, f"{missing[name]}: the first command that trains makes them")
        if name in missing and store.made_here(name)
        else Check(f"weights {name}", name not in missing, missing.get(name, "ready"), store.remedy(name))
        for name in names
    ] or [Check("weights", True, "none needed")]


def _data(dataset: "Dataset | SuiteError") -> Check:
    if isinstance(dataset, SuiteError):
        return Check("data", False, dataset.message, dataset.remedy or "Give another COCO_ROOT.")
    sizes = f"{dataset.name}: {dataset.train.n_images} training and {dataset.val.n_images} validation images"
    if dataset.kind == "shapes":
        made = dataset.train.annotations.exists() and dataset.val.annotations.exists()
        return Check("data", True, sizes if made else f"{sizes}, drawn by the first command that needs them")
    for split in (dataset.train, dataset.val):
        if not split.images.is_dir():
            remedy = "Put the images there, or give another COCO_ROOT."
            return Check("data", False, f"{split.images}: no such folder", remedy)
    return Check("data", True, sizes)
