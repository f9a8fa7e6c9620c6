"""Multi-scale testing: an image at several scales, and mirrored, and one set of detections from them all."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.registry import LOOPS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_flip, bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.structures import InstanceData
from torch import Tensor, nn

from suite.errors import SuiteError
from suite.inference.loop import DetectionLoop
from suite.inference.score_voting import vote

MERGINGS = ("nms", "soft_vote")
_VOTE_IOU = 0.66
_NO_LIMIT = 1_000_000


@LOOPS.register_module()
class MultiScaleLoop(DetectionLoop):
    """The evaluation of a detector on several versions of each image; without coverage.

    The dataset's pipeline makes the versions by ``TestTimeAug``: all flips of the first scale, of the second,
    and so on; ``PackDetInputs`` has to keep ``scale_factor``, ``flip`` and ``flip_direction``.

    Args:
        args: DetectionLoop's.
        merging: See :class:`MultiScaleDetector`.
        size_ranges: For each scale the least and largest sqrt(box area), in pixels of the scaled image, that
            a detection may have; all by default.
        kwargs: DetectionLoop's.

    Raises:
        SuiteError: ``merging`` is unknown.
    """

    def __init__(
        self,
        *args: Any,
        merging: str = "nms",
        size_ranges: Sequence[tuple[float, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        model = self.runner.model.module if is_model_wrapper(self.runner.model) else self.runner.model
        self.detector = MultiScaleDetector(model, merging, size_ranges)

    def dense_head(self) -> None:
        """None: coverage needs the candidates of one image, and here an image has several versions."""
        return None

    def detect(self, data_batch: Any) -> Sequence[Any]:
        """Detections of a batch from all versions of its images, in original pixels."""
        samples: Sequence[Any] = self.detector.test_step(data_batch)
        return samples


class MultiScaleDetector(BaseTTAModel):
    """Merges what a detector finds in the versions of an image.

    - ``nms``, as released with FreeAnchor: the candidates of all versions, each limited by the detector's
      ``nms_pre`` and ``score_thr``, go through one NMS; score voting, where the detector has it, follows over
      all candidates.
    - ``soft_vote``, as released with PAA: each version has its own NMS and score voting; then, by class,
      :func:`soft_vote` on the detections of all versions.

    Both end with the detector's ``max_per_img``.

    Args:
        module: The detector, single-stage or two-stage.
        merging: ``nms`` or ``soft_vote``.
        size_ranges: See :class:`MultiScaleLoop`.

    Raises:
        SuiteError: ``merging`` is unknown.
    """

    def __init__(
        self, module: nn.Module, merging: str, size_ranges: Sequence[tuple[float, float]] | None = None
    ) -> None:
        if merging not in MERGINGS:
            raise SuiteError(f"test_cfg.merging: expected one of {', '.join(MERGINGS)}, found {merging!r}.")
        super().__init__(module)
        self.merging = merging
        self.size_ranges = size_ranges
        detector: Any = module
        self.head: Any = detector.roi_head if hasattr(detector, "roi_head") else detector.bbox_head
        self.settings: Any = self.head.test_cfg
        # mmdet's PAAHead has a method of that name, and votes within each version.
        self.score_voting = merging == "nms" and getattr(self.head, "score_voting", False) is True

    def test_step(self, data: Any) -> list[DetDataSample]:
        """Detections of a batch; each value of ``data`` lists the versions, and each of these the images."""
        if self.merging != "nms":
            return super().test_step(data)
        # At an IoU of 1 NMS removes nothing: what is left are the candidates.
        unlimited = {"nms": {"type": "nms", "iou_threshold": 1.0}, "max_per_img": _NO_LIMIT}
        self.head.test_cfg = ConfigDict({**self.settings, **unlimited})
        if self.score_voting:
            self.head.score_voting = False
        try:
            return super().test_step(data)
        finally:
            self.head.test_cfg = self.settings
            if self.score_voting:
                self.head.score_voting = True

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> list[DetDataSample]:
        """One sample per image, with ``bboxes``, ``scores`` and ``labels`` by falling score."""
        return [self._merge(versions) for versions in data_samples_list]

    def _merge(self, versions: Sequence[DetDataSample]) -> DetDataSample:
        per_scale = len(versions) // len(self.size_ranges) if self.size_ranges else 1
        parts = []
        for index, sample in enumerate(versions):
            found = sample.pred_instances
            boxes = found.bboxes
            if sample.flip:
                boxes = bbox_flip(boxes, sample.ori_shape, sample.flip_direction)
            kept = torch.ones_like(found.scores, dtype=torch.bool)
            if self.size_ranges:
                low, high = self.size_ranges[index // per_scale]
                sides = (boxes[:, 2:] - boxes[:, :2]) * boxes.new_tensor(sample.scale_factor)
                size = sides.prod(dim=1).sqrt()
                kept = (size > low) & (size < high)
            parts.append((boxes[kept], found.scores[kept], found.labels[kept]))
        boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        merged = versions[0]
        merged.pred_instances = (
            self._nms(boxes, scores, labels) if self.merging == "nms" else self._voted(boxes, scores, labels)
        )
        return merged

    def _nms(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> InstanceData:
        if not len(boxes):
            return InstanceData(bboxes=boxes, scores=scores, labels=labels)
        # The scores that soft NMS lowers come with its boxes.
        found, kept = batched_nms(boxes, scores, labels, self.settings.nms)
        kept, found = kept[: self.settings.max_per_img], found[: self.settings.max_per_img]
        result = InstanceData(bboxes=found[:, :4], scores=found[:, 4], labels=labels[kept])
        if self.score_voting:
            result.bboxes = vote(result.bboxes, result.labels, boxes, labels, scores)
        return result

    def _voted(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> InstanceData:
        parts = []
        for label in labels.unique():
            own = labels == label
            voted, raised = soft_vote(boxes[own], scores[own], self.settings.score_thr)
            parts.append((voted, raised, label.expand(len(raised))))
        if parts:
            boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        best = scores.argsort(descending=True, stable=True)[: self.settings.max_per_img]
        return InstanceData(bboxes=boxes[best], scores=scores[best], labels=labels[best])


def soft_vote(boxes: Tensor, scores: Tensor, score_threshold: float) -> tuple[Tensor, Tensor]:
    """Merge the boxes of one class, as the code released with PAA does for multi-scale testing.

    The box of highest score and those with an IoU of at least 0.66 with it make one: their mean weighted by
    score, with the highest score. Each of them also stays as it is, with score x (1 - IoU), where that
    reaches the threshold. Then it is the turn of the best box that is left. Widths have no +1 here.

    Args:
        boxes: Shape (n, 4), xyxy.
        scores: Shape (n,), positive.
        score_threshold: Lowest score of a box that stays.

    Returns:
        Boxes (m, 4) and scores (m,), in no order.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, scores = boxes[order], scores[order]
    found = [(boxes[:0], scores[:0])]
    while len(boxes):
        iou = bbox_overlaps(boxes[:1], boxes)[0]
        near = iou >= _VOTE_IOU
        near[0] = True  # an empty box has no IoU with itself
        members, weights = boxes[near], scores[near]
        mean = (members * weights[:, None]).sum(dim=0, keepdim=True) / weights.sum()
        found.append((mean, weights[:1]))
        lowered = weights * (1 - iou[near])
        stays = lowered >= score_threshold
        stays[0] = False
        found.append((members[stays], lowered[stays]))
        boxes, scores = boxes[~near], scores[~near]
    merged, raised = (torch.cat(part) for part in zip(*found, strict=True))
    return merged, raised
