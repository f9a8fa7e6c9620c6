"""What a run costs: seconds and disk, from measurements where there are some, else from a table.

Measured are :mod:`suite.experiments.calibration`'s few steps on this machine, and finished runs of machines
like this one. Without either, full-scale runs are estimated from one figure of the papers, a 1x training of
R-50 at 800 x 1333 in 5 hours on 8 V100, and from the relative cost of backbones and methods below.
"""

import contextlib
import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.machine import cpu_count, cpu_model, gpu_models
from suite.runs.configs import preset_info
from suite.runs.directory import RunDirectory
from suite.runs.environments import COMPUTES, installed, read_environments
from suite.runs.resolved import ResolvedRun
from suite.runs.spec import RunSpec

V100_SECONDS = 5 * 3600 * 8 / (12 * 118_287)
"""GPU seconds for an image in training, R-50 at 800 x 1333: 5 hours of 12 epochs of COCO on 8 V100."""

_SMALL_TEST_SHARE = 0.05
"""Of a small preset's expected time, the part that is not training."""

_START_SECONDS = 10.0
"""From the start of a finished run to its first step, which it does not tell."""

TEST_SHARE = 0.5
"""Time of an image in testing over its time in training, where nothing is measured."""

START_SECONDS = 60.0
"""Start of a run at full scale: imports, annotations; and its numbers at the end."""

BACKBONES = {
    "ResNet-50": (1.0, 24), "ResNet-101": (1.35, 43), "ResNet-101-DCN": (1.8, 45),
    "ResNeXt-101-64x4d": (2.5, 82), "ResNeXt-101-64x4d-DCN": (3.0, 84),
    "ResNeXt-152-32x8d-DCN": (4.0, 118), "TridentResNet-101": (1.35, 43), "HourglassNet-104": (4.0, 188),
}  # fmt: skip
"""Backbone -> training time of an image over R-50's at the same size, and millions of parameters.

Relative times are estimates, not measured: they rise with the backbone's multiply-adds.
"""

METHODS = {
    "faster_rcnn": (1.0, 18), "libra_rcnn": (1.05, 18), "cascade_rcnn": (1.35, 45),
    "ga_faster_rcnn": (1.2, 19), "tridentnet": (2.2, 10), "reppoints": (1.1, 13),
    "paa": (1.15, 9), "cornernet": (1.0, 13),
}  # fmt: skip
"""Method -> training time over RetinaNet's with the same backbone, and millions of parameters beside the
backbone; :data:`_OTHER` for those not named."""

_OTHER = (1.0, 14)

LOGS_MB = 100.0
"""Disk of a full-scale run beside its checkpoint: detections, coverage, logs."""


@dataclass(frozen=True)
class Work:
    """How much a run computes.

    Attributes:
        name: Names what each step and each image cost: runs of one name differ in length alone.
        epochs: Epochs of the training.
        passes: Forward passes per epoch of each process.
        images: Images that each process tests.
    """

    name: str
    epochs: int
    passes: int
    images: int


@dataclass(frozen=True)
class Pace:
    """What a work's parts take, in seconds.

    Attributes:
        forward_pass: A forward pass with its backward pass and its share of a step.
        epoch: Beside the passes, per epoch: checkpoint and telemetry.
        image: An image in testing.
        other: The rest of a run: start, and numbers at the end.
        source: Where it is from, for people: ``measured by suite calibrate``.
    """

    forward_pass: float
    epoch: float
    image: float
    other: float
    source: str

    def train_seconds(self, work: Work) -> float:
        """Time of a training."""
        return work.epochs * (work.passes * self.forward_pass + self.epoch)

    def test_seconds(self, work: Work) -> float:
        """Time of all but the training."""
        return work.images * self.image + self.other


@dataclass(frozen=True)
class Cost:
    """What a run costs from its beginning.

    Attributes:
        train_seconds: Time of the training.
        test_seconds: Time of the rest.
        checkpoint_mb: Size of the checkpoint.
        other_mb: Size of the other files.
        source: Where the times are from, for people.
    """

    train_seconds: float
    test_seconds: float
    checkpoint_mb: float
    other_mb: float
    source: str

    @property
    def seconds(self) -> float:
        """Time of all."""
        return self.train_seconds + self.test_seconds

    def times(self, factor: float) -> "Cost":
        """The cost by the table on a machine that takes ``factor`` times as long."""
        return replace(
            self,
            train_seconds=factor * self.train_seconds,
            test_seconds=factor * self.test_seconds,
            source=SCALED,
        )


CALIBRATED = "steps that `suite calibrate` measured on this machine"
FINISHED = "finished runs of this machine"
TABLE = "the default table"
SCALED = "the default table, scaled as the measured runs are to it"


def work_of(run: ResolvedRun, dataset: Dataset) -> Work:
    """How much a run computes; equal names mean equal steps and images."""
    processes = run.resources.processes
    batch = run.config["train_dataloader"]["batch_size"]
    return Work(
        work_name(run.spec, run.config, run.resources.identity),
        int(run.config["train_cfg"]["max_epochs"]),
        math.ceil(dataset.train.n_images / (batch * processes)),
        math.ceil(dataset.val.n_images / processes),
    )


def work_name(spec: RunSpec, config: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """:attr:`Work.name` of a config, resolved or as an identity keeps it.

    ``machine`` is :attr:`suite.runs.resources.Resources.identity`. Options of a method are left out: they
    change numbers, and times hardly.
    """
    train, test = config["train_dataloader"], config["test_dataloader"]
    devices = f"each of {machine['processes']} GPUs"
    if machine["device"] == "CPU":
        devices = f"each of {machine['processes']} CPU processes, threads {machine['threads']}"
    elif spec.adjustments.gpus is not None and 0 < spec.adjustments.gpus < 1:
        devices = f"{spec.adjustments.gpus:g} of a GPU"
    parts = [
        spec.method,
        backbone_of(config),
        f"trained at {_sizes(train)}",
        f"tested at {_sizes(test)}",
        f"{train['batch_size']} images on {devices}",
    ]
    return ", ".join([*parts, *(["FAST"] if spec.adjustments.fast else [])])


def backbone_of(config: Mapping[str, Any]) -> str:
    """Name of a resolved config's backbone, like ``ResNeXt-101-64x4d-DCN``."""
    backbone = config["model"]["backbone"]
    name = f"{backbone['type']}-{backbone.get('depth', 104)}"
    if "groups" in backbone:
        name += f"-{backbone['groups']}x{backbone['base_width']}d"
    if "base_channels" in backbone:
        name += f"-{backbone['base_channels']}"
    return name + ("-DCN" if backbone.get("dcn") else "")


def _sizes(loader: Mapping[str, Any]) -> str:
    """The image sizes of a pipeline in short: ``1333x800``, ``1333x640..1333x800``, ``their own size``."""
    sizes = [tuple(sorted(size, reverse=True)) for size in _scales(loader["dataset"]["pipeline"])]
    ends = sorted(set(sizes), key=lambda size: (size[1], size[0]))
    texts = list(dict.fromkeys(f"{width}x{height}" for width, height in (ends[:1] + ends[-1:])))
    if not texts:
        return "their own size"
    return "..".join(texts) + (f" in {len(sizes)} views" if _views(loader) > 1 else "")


def _scales(pipeline: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """All sizes that a pipeline's resizing names; crops of CornerNet count as sizes."""
    found: list[tuple[int, int]] = []
    for step in pipeline:
        for inner in step.get("transforms", []):
            found += _scales([inner] if isinstance(inner, Mapping) else inner)
        scale = step.get("scale") or step.get("scales") or step.get("crop_size")
        if scale:
            scales = scale if isinstance(scale[0], (list, tuple)) else [scale]
            found += [(int(one[0]), int(one[1])) for one in scales]
    return found


def _views(loader: Mapping[str, Any]) -> int:
    """Images that a pipeline makes of one: test-time scales times flips."""
    for step in loader["dataset"]["pipeline"]:
        if step["type"] == "TestTimeAug":
            return math.prod(len(options) for options in step["transforms"])
    return 1


def _area(loader: Mapping[str, Any], mean: bool) -> float:
    """Pixels of an image's views over those of one resized to 800 x 1333: their mean, or their sum.

    An image of COCO is 4:3: it fills a square, and of 800 x 1333 no more than 800 x 1067.
    """
    scales = [sorted(scale) for scale in _scales(loader["dataset"]["pipeline"])] or [[800, 1333]]
    areas = [min(short * long, short**2 * 4 / 3) / (800**2 * 4 / 3) for short, long in scales]
    average = sum(areas) / len(areas)
    return average if mean else average * _views(loader)


def table_pace(run: ResolvedRun) -> Pace:
    """The pace of a full-scale run on V100, by :data:`BACKBONES` and :data:`METHODS`."""
    loader = run.config["train_dataloader"]
    backbone, _ = BACKBONES.get(backbone_of(run.config), (1.0, 24))
    method, _ = METHODS.get(run.spec.method, _OTHER)
    image = V100_SECONDS * backbone * method
    share = run.resources.gpus if 0 < run.resources.gpus < 1 else 1.0
    return Pace(
        image * _area(loader, mean=True) * loader["batch_size"] / share,
        0.0,
        TEST_SHARE * image * _area(run.config["test_dataloader"], mean=False) / share,
        START_SECONDS,
        TABLE,
    )


def checkpoint_mb(run: ResolvedRun) -> float:
    """Size of a full-scale run's checkpoint: weights and the optimizer's moments, in float32."""
    _, backbone = BACKBONES.get(backbone_of(run.config), (1.0, 24))
    _, rest = METHODS.get(run.spec.method, _OTHER)
    moments = 2 if str(run.config["optim_wrapper"]["optimizer"]["type"]).startswith("Adam") else 1
    return float((backbone + rest) * 4 * (1 + moments))


class Costs:
    """The costs of runs at one preset on one dataset, as far as this machine knows.

    Args:
        preset: Name of the preset.
        dataset: What the runs train and are evaluated on.
        calibrated: Name of a work -> its pace: what ``suite calibrate`` measured on this machine.
        finished: The same of finished runs, which count where nothing is calibrated.
    """

    def __init__(
        self, preset: str, dataset: Dataset, calibrated: Mapping[str, Pace], finished: Mapping[str, Pace]
    ) -> None:
        self._info = preset_info(preset)
        self._dataset = dataset
        self._paces = {**finished, **calibrated}

    def of(self, runs: Sequence[ResolvedRun]) -> list[Cost]:
        """What each run costs from its beginning.

        Where some are measured, those by the table are scaled by the median of measured over table.
        """
        costs = [self._measured(run) or self._by_table(run) for run in runs]
        ratios = [
            cost.seconds / self._by_table(run).seconds
            for run, cost in zip(runs, costs, strict=True)
            if cost.source != TABLE
        ]
        if not ratios:
            return costs
        factor = statistics.median(ratios)
        return [cost if cost.source != TABLE else cost.times(factor) for cost in costs]

    def _measured(self, run: ResolvedRun) -> Cost | None:
        work = work_of(run, self._dataset)
        pace = self._paces.get(work.name)
        return None if pace is None else self._cost(run, work, pace)

    def _by_table(self, run: ResolvedRun) -> Cost:
        work = work_of(run, self._dataset)
        if "seconds_per_run" not in self._info:
            return self._cost(run, work, table_pace(run))
        seconds = float(self._info["seconds_per_run"])
        train = (1 - _SMALL_TEST_SHARE) * seconds
        return Cost(train, seconds - train, *self._disk(run), TABLE)

    def _cost(self, run: ResolvedRun, work: Work, pace: Pace) -> Cost:
        return Cost(pace.train_seconds(work), pace.test_seconds(work), *self._disk(run), pace.source)

    def _disk(self, run: ResolvedRun) -> tuple[float, float]:
        if "disk_mb_per_run" in self._info:
            return 0.0, float(self._info["disk_mb_per_run"])
        return checkpoint_mb(run), LOGS_MB


def paces_of_finished(specs: Iterable[Mapping[str, Any]], runs: Path) -> dict[str, Pace]:
    """Name of a work -> the mean pace of the finished runs that did it on a machine like this one.

    Args:
        specs: Contents of ``spec.json`` files, all of runs that were evaluated on the same images.
        runs: The folder of the run directories.
    """
    found: dict[str, list[Pace]] = {}
    for spec in specs:
        with contextlib.suppress(SuiteError, AttributeError, KeyError, TypeError, ZeroDivisionError):
            name, pace = _finished(spec, RunDirectory(runs / spec["run_id"]))
            found.setdefault(name, []).append(pace)
    return {name: _mean(paces) for name, paces in found.items()}


def _finished(spec: Mapping[str, Any], run: RunDirectory) -> tuple[str, Pace]:
    """Work and pace of a finished run of this machine.

    Raises:
        KeyError: It is not finished, or of another machine; or as damaged files have it.
    """
    result, environments = run.result(), read_environments(run)["training"]
    identity = spec["identity"]
    machine = identity["machine"]
    if result is None or not environments:
        raise KeyError("result")
    if not is_this_machine(environments[-1], machine["device"] == "GPU"):
        raise KeyError("machine")
    name = work_name(RunSpec.of(spec), identity["config"], machine)
    passes = float(result["train_seconds"]) / float(result["steps"])
    return name, Pace(passes, 0.0, 0.0, float(result["evaluation_seconds"]) + _START_SECONDS, FINISHED)


def _mean(paces: Sequence[Pace]) -> Pace:
    parts = ("forward_pass", "epoch", "image", "other")
    means = {part: statistics.mean(getattr(pace, part) for pace in paces) for part in parts}
    return Pace(**means, source=paces[0].source)


def is_this_machine(environment: Mapping[str, Any], gpu: bool) -> bool:
    """Whether an entry of environment.json is of a machine like this one, with the same versions.

    Args:
        environment: The entry.
        gpu: Whether the model of the GPU counts.
    """
    packages, hardware = environment.get("packages") or {}, environment.get("hardware") or {}
    cpu, cores, gpus = _this_machine()
    same = hardware.get("cpu") == cpu and hardware.get("cores") == cores
    if gpu:
        same = same and tuple(sorted(set(hardware.get("gpus") or ()))) == gpus
    return same and all(packages.get(name) == installed(name) for name in COMPUTES)


@functools.cache
def _this_machine() -> tuple[str, int, tuple[str, ...]]:
    return cpu_model(), int(cpu_count()), tuple(gpu_models())


def typical_disk_mb(preset: str) -> float:
    """Disk of a run of which no more is known than its preset: R-50's, at full scale."""
    (backbone, rest) = BACKBONES["ResNet-50"][1], _OTHER[1]
    return float(preset_info(preset).get("disk_mb_per_run", (backbone + rest) * 4 * 2 + LOGS_MB))
