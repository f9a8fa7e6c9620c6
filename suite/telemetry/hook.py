"""Telemetry of the matching: which anchors a detector takes for which object, and how sure it is."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from torch import Tensor, nn

from suite.runs.directory import RunDirectory
from suite.telemetry.assignments import Assignment, assignments, has_assignments
from suite.telemetry.explanation import Explanation, explain, prior_boxes, rounded_boxes, significant
from suite.telemetry.observation import evaluating, random_numbers_of_its_own, unwrapped
from suite.telemetry.ranking import mean_record, ranking_record
from suite.telemetry.summary import slenderness, summary
from suite.training.hooks import append_line, forget_lines_after, outside_training

# Bags of objects smaller than this, in pixels of the network's input, have few anchors to choose among.
_SMALLEST_AREA_OF_BAGS = 32.0**2


@dataclass(frozen=True)
class _Image:
    """An image of the probe at one moment; ``row`` is the object whose bag may be written."""

    image_id: int
    boxes: Tensor
    labels: list[int]
    assignment: Assignment
    priors: Tensor
    row: int | None
    explanation: Explanation | None
    transform: dict[str, Any]


@HOOKS.register_module()
class AssignmentHook(Hook):
    """Writes assignment.jsonl: how the detector matches the objects of a few training images.

    The images are spread evenly over the training set and augmented as in epoch 0: at one seed they are the
    same for every method, and they stay the same throughout the training. They go through the detector before
    the first step, every ``interval`` steps and after the last one, in evaluation mode, which leaves no trace
    in the training: neither in weights and statistics nor in what it draws at random.

    A line holds

    - ``step`` (done so far), ``epoch`` (of that step, from 1), ``objects``;
    - ``positives``, ``entropy``, ``ambiguous``: see :func:`~suite.telemetry.summary.summary`;
    - ``per_object``: positives of each object;
    - ``overlap``: the intersection of an object's positives with those of the line before over their union,
      mean over the objects that have any; null where there is nothing to compare with, as in the first line;
    - ``quality`` and, of a head with a ranking loss, ``ranking``: see
      :func:`~suite.telemetry.ranking.ranking_record`, means over the batches of the images;
    - ``bags``: whole bags of the most slender objects, at most one per image; those of at least 32 x 32
      pixels first. Each has ``image_id``, ``object`` (index in the image as trained), ``category``, ``box``,
      ``transform``, and of each member ``anchors``, ``confidence``, ``iou``, ``positive``. Of a head with a
      ``bbox_coder`` it also has ``predicted``, a member's decoded box, and, as far as there are,
      ``around``, ``losses`` and ``mixture`` of :class:`~suite.telemetry.explanation.Explanation`. The
      transform leads from the image file to the network's input: ``scale`` of x and of y, then ``flip`` in
      an image of ``shape`` (height, width). Boxes are xyxy in pixels of the network's input; a point's is the
      square of its stride's size around it;
    - ``seconds`` that it took; they count as training nowhere.

    Detectors without a dense ``bbox_head``, or whose head is not known to
    :mod:`suite.telemetry.assignments`, are left alone.

    Args:
        interval: Steps from line to line.
        images: Images to look at; fewer if the training set is smaller.
        bags: Objects whose bags are written.

    Raises:
        SuiteError: The file cannot be written.
    """

    # Before the checkpoint.
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
        """Forget the lines of steps that will be done again, and look at a detector before its first step."""
        self.active = is_main_process() and self._is_supported(runner)
        if not self.active:
            return
        self.file = RunDirectory(Path(runner.work_dir)).assignment_file
        # Before the first step even the line of step 0 is written again.
        forget_lines_after(self.file, runner.iter or -1)
        if runner.iter == 0:
            with outside_training(runner):
                self._write_line(runner, 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Look at the detector when it is due."""
        step = runner.iter + 1
        if not self.active or not (step % self.interval == 0 or step == runner.max_iters):
            return
        with outside_training(runner):
            # A diverged detector has no matching; RunLogHook says so and ends the training.
            if all(bool(value.isfinite()) for value in (outputs or {}).values()):
                self._write_line(runner, step)

    def _is_supported(self, runner: Runner) -> bool:
        model = unwrapped(runner.model)
        head = getattr(model, "bbox_head", None)
        supported = isinstance(head, BaseDenseHead) and has_assignments(head)
        if not supported:
            name = type(model if head is None else head).__name__
            print(f"notice: no assignment.jsonl: {name} does not tell which anchors it matches", flush=True)
        return supported

    def _write_line(self, runner: Runner, step: int) -> None:
        started = time.perf_counter()
        images, records = self._look(runner)
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
            **mean_record(records),
            "bags": [_bag(image, classes) for image in _chosen(images, self.bags)],
        }
        self.previous = positives
        line["seconds"] = round(time.perf_counter() - started, 4)
        append_line(self.file, line)

    @torch.no_grad()
    def _look(self, runner: Runner) -> tuple[list[_Image], list[dict[str, Any]]]:
        model = unwrapped(runner.model)
        wrapper = runner.optim_wrapper
        half = isinstance(wrapper, AmpOptimWrapper)
        precision = autocast(enabled=half, dtype=wrapper.cast_dtype if half else None)
        images: list[_Image] = []
        records = []
        with random_numbers_of_its_own("assignment", runner.seed), evaluating(model), precision:
            if self.batches is None:
                self.batches = _load(runner.train_dataloader, self.images)
            for batch in self.batches:
                seen, record = _look_at_batch(model, batch)
                images += seen
                records.append(record)
        return images, records


def _load(loader: Any, count: int) -> list[Any]:
    """Images spread evenly over a loader's dataset, in batches as it makes them."""
    size = len(loader.dataset)
    count = min(count, size)
    # With a batch sampler in its config the loader has no batch size; the sampler has it.
    batch = loader.batch_size or loader.batch_sampler.batch_size
    samples = [loader.dataset[index * size // count] for index in range(count)]
    return [loader.collate_fn(samples[first : first + batch]) for first in range(0, count, batch)]


def _look_at_batch(model: nn.Module, batch: Any) -> tuple[list[_Image], dict[str, Any]]:
    data: Any = model.data_preprocessor(batch, False)  # type: ignore[operator]
    samples = data["data_samples"]
    head: Any = model.bbox_head
    outs = head(model.extract_feat(data["inputs"]))  # type: ignore[operator]
    instances = [sample.gt_instances for sample in samples]
    found = assignments(head, outs, instances, [sample.metainfo for sample in samples])
    priors = prior_boxes(head, outs[0])
    rows = [_row_of_bag(own.bboxes) for own in instances]
    explanations: list[Explanation | None] = [None] * len(rows)
    if getattr(head, "bbox_coder", None) is not None:  # else the head decodes in a way of its own
        explanations = explain(head, outs, instances, found, rows)
    images = [
        _Image(
            sample.img_id, own.bboxes, own.labels.tolist(), assignment, priors, row, why, _transform(sample)
        )
        for sample, own, assignment, row, why in zip(
            samples, instances, found, rows, explanations, strict=True
        )
    ]
    return images, ranking_record(head, outs, instances, found)


def _transform(sample: Any) -> dict[str, Any]:
    """What resizing and flipping, the suite's augmentations, did to an image; see AssignmentHook."""
    meta = sample.metainfo
    return {
        "scale": [float(f"{factor:.6g}") for factor in meta.get("scale_factor", (1.0, 1.0))],
        "flip": meta.get("flip_direction") if meta.get("flip") else None,
        "shape": list(meta["img_shape"][:2]),
    }


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


def _order(box: Sequence[float]) -> tuple[bool, float]:
    """What objects are sorted by where bags are few: large enough ones first, then by slenderness."""
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1) < _SMALLEST_AREA_OF_BAGS, -slenderness(x2 - x1, y2 - y1)


def _row_of_bag(boxes: Tensor) -> int | None:
    """Index of the object of an image whose bag may be written, None for an image without objects."""
    listed = boxes.tolist()
    return min(range(len(listed)), key=lambda row: _order(listed[row]), default=None)


def _chosen(images: Sequence[_Image], count: int) -> list[_Image]:
    """The images of which a bag is written."""
    ordered = [(_order(image.boxes[image.row].tolist()), image) for image in images if image.row is not None]
    return [image for _, image in sorted(ordered, key=lambda pair: pair[0])][:count]


def _bag(image: _Image, classes: Sequence[str]) -> dict[str, Any]:
    row, found = image.row, image.assignment
    assert row is not None
    valid = found.valid[row]
    return {
        "image_id": image.image_id,
        "object": row,
        "category": classes[image.labels[row]],
        "box": rounded_boxes(image.boxes[row : row + 1])[0],
        "transform": image.transform,
        "anchors": rounded_boxes(image.priors[found.members[row][valid]]),
        # Confidences start far below 1, where digits after the point would show nothing.
        "confidence": significant(found.confidence[row][valid]),
        "iou": [_rounded(value) for value in found.iou[row][valid].tolist()],
        "positive": found.positive[row][valid].int().tolist(),
        **(image.explanation.record() if image.explanation else {}),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else _finite(round(value, 4))


def _finite(value: float) -> float | None:
    """The value, or None where it has none that JSON could hold."""
    return value if math.isfinite(value) else None
