"""All boxes that a detector scores above a threshold, before non-maximum suppression."""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models.dense_heads import PAAHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor


@torch.no_grad()
def candidates(
    head: BaseDenseHead,
    outs: tuple[list[Tensor], ...],
    batch_img_metas: list[dict[str, Any]],
    score_threshold: float = 0.05,
) -> list[InstanceData]:
    """Every (anchor, class) pair whose class score exceeds the threshold, on all levels and without a limit.

    What FreeAnchor's NMS recall starts from. mmdet's own ``predict_by_feat(with_nms=False)`` keeps 1000
    per level, and PAA's refuses the call.

    Args:
        head: A dense head with sigmoid scores, one ``prior_generator`` and one ``bbox_coder``.
        outs: What ``head.forward`` returned: logits and encoded boxes per level, and centerness or IoU logits
            if the head has them.
        batch_img_metas: ``img_shape`` and ``scale_factor`` of each image.
        score_threshold: On the class score, in (0, 1), whatever factor the head multiplies it with.

    Returns:
        For each image ``bboxes`` (m, 4), xyxy in pixels of the original image, clipped to it; ``scores``
        (m,) as the detector's own NMS ranks them (PAA: sqrt(class x IoU)); ``labels`` (m,);
        ``class_scores`` (m,) without such a factor; and ``levels`` (m,) of the pyramid.
    """
    cls_scores, bbox_preds = outs[0], outs[1]
    factors = outs[2] if len(outs) > 2 else None
    combine = _combination(head)
    priors = head.prior_generator.grid_priors(
        [score.shape[-2:] for score in cls_scores], dtype=cls_scores[0].dtype, device=cls_scores[0].device
    )
    results = []
    for image, meta in enumerate(batch_img_metas):
        parts: list[tuple[Tensor, ...]] = []
        for level, level_priors in enumerate(priors):
            probability = _rows(cls_scores[level][image], head.cls_out_channels).sigmoid()
            anchor, label = (probability > score_threshold).nonzero(as_tuple=True)
            class_score = score = probability[anchor, label]
            if factors is not None:
                score = combine(score, _rows(factors[level][image], 1)[anchor, 0].sigmoid())
            encoded = _rows(bbox_preds[level][image], 4)[anchor]
            boxes = head.bbox_coder.decode(level_priors[anchor], encoded, max_shape=meta["img_shape"])
            parts.append((boxes, score, label, class_score, torch.full_like(label, level)))
        width_ratio, height_ratio = meta["scale_factor"]
        boxes, scores, labels, class_scores, levels = (torch.cat(part) for part in zip(*parts, strict=True))
        results.append(
            InstanceData(
                bboxes=scale_boxes(boxes, (1 / width_ratio, 1 / height_ratio)),
                scores=scores,
                labels=labels,
                class_scores=class_scores,
                levels=levels,
            )
        )
    return results


def _combination(head: BaseDenseHead) -> Callable[[Tensor, Tensor], Tensor]:
    """How a head combines class score and centerness or IoU: by its own rule if it has one, else mmdet's."""
    if hasattr(head, "combined_scores"):
        combined: Callable[[Tensor, Tensor], Tensor] = head.combined_scores
        return combined
    if isinstance(head, PAAHead):
        return lambda score, factor: (score * factor).sqrt()
    return torch.mul


def _rows(level: Tensor, channels: int) -> Tensor:
    """(anchors x channels, H, W) as (H x W x anchors, channels), the order of the prior generator."""
    return level.permute(1, 2, 0).reshape(-1, channels)
