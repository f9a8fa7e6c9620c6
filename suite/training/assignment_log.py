"""Telemetry of the matching: which anchors a detector takes for which object, and how sure it is."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from torch import Tensor, nn

from suite.detectors.assignment import Assignment, assignments, has_assignments
from suite.detectors.assignment_summary import slenderness, summary
from suite.runs import RunDirectory
from suite.training.hooks import append_line, forget_lines_after
from suite.training.seeding import derived_seed, temporary_seed

# Bags of objects smaller than this, in pixels of the network's input, have few anchors to choose among.
_SMALLEST_AREA_OF_BAGS = 32.0**2


@dataclass(frozen=True)
class _Image:
    """An image of the probe at one moment."""

    image_id: int
    boxes: Tensor
    labels: list[int]
    assignment: Assignment
    priors: Tensor


@HOOKS.register_module()
class AssignmentHook(Hook):
    """Writes assignment.jsonl: how the detector matches the objects of a few training images.

    The images are spread evenly over the training set and seen as epoch 0 augments them: the same for every
    method of a seed, and throughout the training. They go through the detector before the first step, every
    ``interval`` steps and after the last one, in evaluation mode, which leaves no trace in the training:
    neither in weights and statistics nor in what it draws at random.

    A line holds

    - ``step`` (done so far), ``epoch`` (of that step, from 1), ``objects``;
    - ``positives``, ``entropy``, ``ambiguous``: see :func:`~suite.detectors.assignment_summary.summary`;
    - ``per_object``: positives of each object;
    - ``overlap``: the intersection of an object's positives with those of the line before over their union,
      mean over the objects that have any; null where there is nothing to compare with, as in the first line;
    - ``bags``: whole bags of the most slender objects, at most one an image; those of at least 32 x 32
      pixels first. Each has ``image_id``, ``object`` (index in the image as trained), ``category``, ``box``,
      and of each member ``anchors``, ``confidence``, ``iou``, ``positive``. Boxes are xyxy in pixels of the
      network's input; a point's is the square of its stride's size around it;
    - ``seconds`` that it took.

    Detectors without a dense ``bbox_head``, or whose head does not tell its matching, are left alone.

    Args:
        interval: Steps from line to line.
        images: Images to look at; fewer if the training set is smaller.
        bags: Objects whose bags are written.

    Raises:
        SuiteError: The file cannot be written.
    """

    # Before RunLogHook, whose waiting for data would hold the time it takes, and before the checkpoint.
    priority = "NORMAL"

    def __init__(self, interval: int = 500, images: int = 16, bags: int = 4) -> None:
        self.interval = interval
        self.images = images
        self.bags = bags
        self.batches: list[Any] | None = None
        self.previous: list[list[int]] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take up the positives that the interrupted training saw last."""
        if runner._resume:
            self.previous = checkpoint.get("assignment_log")

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the positives with the checkpoint: the next overlap is with them."""
        checkpoint["assignment_log"] = self.previous

    def before_train(self, runner: Runner) -> None:
        """Forget the lines of steps that will be done again; look at the untrained detector."""
        self.active = is_main_process() and self._is_supported(runner)
        if not self.active:
            return
        self.file = RunDirectory(Path(runner.work_dir)).assignment_file
        # Before the first step not even the line of step 0 holds.
        forget_lines_after(self.file, runner.iter or -1)
        if runner.iter == 0:
            self._write_line(runner, 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Look at the detector when it is due."""
        step = runner.iter + 1
        if not self.active or not (step % self.interval == 0 or step == runner.max_iters):
            return
        # A diverged detector has no matching; RunLogHook says so and ends the training.
        if all(bool(value.isfinite()) for value in (outputs or {}).values()):
            self._write_line(runner, step)

    def _is_supported(self, runner: Runner) -> bool:
        model = _unwrapped(runner.model)
        head = getattr(model, "bbox_head", None)
        supported = isinstance(head, BaseDenseHead) and has_assignments(head)
        if not supported:
            name = type(model if head is None else head).__name__
            print(f"notice: no assignment.jsonl: {name} does not tell which anchors it matches", flush=True)
        return supported

    def _write_line(self, runner: Runner, step: int) -> None:
        started = time.perf_counter()
        images = self._look(runner)
        positives = _positives(images)
        found = summary([image.assignment for image in images], [image.boxes for image in images])
        classes = runner.train_dataloader.dataset.metainfo["classes"]
        line = {
            "step": step,
            "epoch": runner.epoch + 1,
            "objects": len(positives),
            "positives": {name: _rounded(value) for name, value in found["positives"].items()},
            "per_object": [len(anchors) for anchors in positives],
            "entropy": _rounded(found["entropy"]),
            "ambiguous": _rounded(found["ambiguous"]),
            "overlap": _rounded(_overlap(self.previous, positives)),
            "bags": [_bag(images, index, row, classes) for index, row in _chosen(images, self.bags)],
        }
        self.previous = positives
        line["seconds"] = round(time.perf_counter() - started, 4)
        append_line(self.file, line)

    @torch.no_grad()
    def _look(self, runner: Runner) -> list[_Image]:
        model = _unwrapped(runner.model)
        wrapper = runner.optim_wrapper
        half = isinstance(wrapper, AmpOptimWrapper)
        precision = autocast(enabled=half, dtype=wrapper.cast_dtype if half else None)
        images = []
        with _random_numbers_of_its_own(runner.seed), _evaluating(model), precision:
            if self.batches is None:
                self.batches = _load(runner.train_dataloader, self.images)
            for batch in self.batches:
                images += _look_at_batch(model, batch)
        return images


def _load(loader: Any, count: int) -> list[Any]:
    """Images spread evenly over a loader's dataset, in batches as it makes them."""
    size = len(loader.dataset)
    count = min(count, size)
    # A batch sampler of one's own has the batch size that the loader then lacks.
    batch = loader.batch_size or loader.batch_sampler.batch_size
    samples = [loader.dataset[index * size // count] for index in range(count)]
    return [loader.collate_fn(samples[first : first + batch]) for first in range(0, count, batch)]


def _look_at_batch(model: nn.Module, batch: Any) -> list[_Image]:
    data: Any = model.data_preprocessor(batch, False)  # type: ignore[operator]
    samples = data["data_samples"]
    head: Any = model.bbox_head
    outs = head(model.extract_feat(data["inputs"]))  # type: ignore[operator]
    instances = [sample.gt_instances for sample in samples]
    found = assignments(head, outs, instances, [sample.metainfo for sample in samples])
    priors = _prior_boxes(head, outs[0])
    return [
        _Image(sample.img_id, own.bboxes, own.labels.tolist(), assignment, priors)
        for sample, own, assignment in zip(samples, instances, found, strict=True)
    ]


def _prior_boxes(head: BaseDenseHead, cls_scores: list[Tensor]) -> Tensor:
    """The anchors of an image, or the squares of stride size around its points, xyxy, shape (A, 4)."""
    sizes = [score.shape[-2:] for score in cls_scores]
    device = cls_scores[0].device
    if not isinstance(head.prior_generator, MlvlPointGenerator):
        return torch.cat(head.prior_generator.grid_priors(sizes, device=device))
    points = torch.cat(head.prior_generator.grid_priors(sizes, device=device, with_stride=True))
    return torch.cat([points[:, :2] - points[:, 2:] / 2, points[:, :2] + points[:, 2:] / 2], dim=1)


def _positives(images: Sequence[_Image]) -> list[list[int]]:
    """Indices of the anchors that are positive for each object of all images."""
    return [
        members[positive].tolist()
        for image in images
        for members, positive in zip(
            image.assignment.members.cpu(), image.assignment.positive.cpu(), strict=True
        )
    ]


def _overlap(before: list[list[int]] | None, now: list[list[int]]) -> float | None:
    """Mean Jaccard index of the objects' positives, without the objects that have none in either."""
    # Other objects: the training was resumed with another number of images.
    if before is None or len(before) != len(now):
        return None
    pairs = [(set(one), set(two)) for one, two in zip(before, now, strict=True)]
    indices = [len(one & two) / len(one | two) for one, two in pairs if one or two]
    return sum(indices) / len(indices) if indices else None


def _chosen(images: Sequence[_Image], count: int) -> list[tuple[int, int]]:
    """Image and index in it of the objects whose bags are written."""
    objects = []
    for index, image in enumerate(images):
        for row, (x1, y1, x2, y2) in enumerate(image.boxes.tolist()):
            large = (x2 - x1) * (y2 - y1) >= _SMALLEST_AREA_OF_BAGS
            objects.append((not large, -slenderness(x2 - x1, y2 - y1), index, row))
    chosen: dict[int, int] = {}
    for _, _, index, row in sorted(objects):
        chosen.setdefault(index, row)
    return list(chosen.items())[:count]


def _bag(images: Sequence[_Image], index: int, row: int, classes: Sequence[str]) -> dict[str, Any]:
    image = images[index]
    found = image.assignment
    valid = found.valid[row]
    return {
        "image_id": image.image_id,
        "object": row,
        "category": classes[image.labels[row]],
        "box": [round(side, 1) for side in image.boxes[row].tolist()],
        "anchors": [
            [round(side, 1) for side in box] for box in image.priors[found.members[row][valid]].tolist()
        ],
        # Confidences start far below 1, where digits after the point would show nothing.
        "confidence": [_finite(float(f"{value:.4g}")) for value in found.confidence[row][valid].tolist()],
        "iou": [_rounded(value) for value in found.iou[row][valid].tolist()],
        "positive": found.positive[row][valid].int().tolist(),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else _finite(round(value, 4))


def _finite(value: float) -> float | None:
    """The value, or None where it has none that JSON could hold."""
    return value if math.isfinite(value) else None


def _unwrapped(model: nn.Module) -> nn.Module:
    unwrapped: nn.Module = model.module if is_model_wrapper(model) else model  # type: ignore[assignment]
    return unwrapped


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; then every module is as it was.

    The flags are set directly: ``train()`` of a backbone with frozen stages does more than that.
    """
    flags = [(module, module.training) for module in model.modules()]
    for module, _ in flags:
        module.training = False
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def _random_numbers_of_its_own(seed: int) -> Iterator[None]:
    """Generators that depend on the seed for the block; then all are where they were."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    own = derived_seed("assignment", seed)
    with torch.random.fork_rng(devices), temporary_seed(own):
        if devices:
            torch.cuda.manual_seed(own)
        yield
