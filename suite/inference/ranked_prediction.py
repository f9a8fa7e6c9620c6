"""Inference of the one-anchor heads: candidates ranked by class score and auxiliary prediction together."""

from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.structures.bbox import scale_boxes
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from suite.inference.score_voting import vote


class RankedPrediction:
    """What ATSS, PAA and the one-anchor RetinaNet do in testing only, for a head of mmdet's ATSS family.

    It stands apart from the head because it trains nothing: a change here has detectors evaluated again.

    Attributes:
        auxiliary: What the head's third branch predicts: ``iou``, ``centerness`` or ``none``.
        score_voting: Whether the boxes of detections are replaced by
            :func:`~suite.inference.score_voting.vote`.
    """

    auxiliary: str
    score_voting: bool
    cls_out_channels: int
    bbox_coder: Any
    test_cfg: Any

    def combined_scores(self, scores: Tensor, factors: Tensor) -> Tensor:
        """What detections are ranked by: sqrt(class score x auxiliary prediction), both in [0, 1]."""
        return (scores * factors).sqrt()

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        score_factor_list: list[Tensor | None],
        mlvl_priors: list[Tensor],
        img_meta: dict[str, Any],
        cfg: ConfigDict,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceData:
        """Detections of an image: ``bboxes`` (d, 4), ``scores`` (d,) by falling score, ``labels`` (d,).

        With IoU prediction also ``predicted_ious`` (d,), in [0, 1]. The signature is mmdet's. On each level
        the ``nms_pre`` best (anchor, class) pairs by combined score of those with a class score above
        ``score_thr``; then NMS, ``max_per_img`` and voting.
        """
        cfg = self.test_cfg if cfg is None else cfg
        parts: list[tuple[Tensor, ...]] = []
        for scores, deltas, factors, priors in zip(
            cls_score_list, bbox_pred_list, score_factor_list, mlvl_priors, strict=True
        ):
            scores = scores.float().permute(1, 2, 0).reshape(-1, self.cls_out_channels).sigmoid()
            anchor, label = (scores > cfg.score_thr).nonzero(as_tuple=True)
            ranked = scores[anchor, label]
            quality = torch.ones_like(ranked)
            if self.auxiliary != "none":
                assert factors is not None
                quality = factors.float().reshape(-1).sigmoid()[anchor]
                ranked = self.combined_scores(ranked, quality)
            if 0 < cfg.get("nms_pre", -1) < len(ranked):
                ranked, kept = ranked.topk(cfg.nms_pre)
                anchor, label, quality = anchor[kept], label[kept], quality[kept]
            deltas = deltas.permute(1, 2, 0).reshape(-1, 4)[anchor]
            boxes = self.bbox_coder.decode(priors[anchor], deltas, max_shape=img_meta["img_shape"])
            parts.append((boxes, ranked, label, quality))
        boxes, ranked, label, quality = (torch.cat(part) for part in zip(*parts, strict=True))
        if rescale:
            boxes = scale_boxes(boxes, [1 / factor for factor in img_meta["scale_factor"]])
        found = InstanceData(bboxes=boxes, scores=ranked, labels=label)
        if self.auxiliary == "iou":
            found.predicted_ious = quality
        if not with_nms or not len(boxes):
            return found
        _, kept = batched_nms(boxes, ranked, label, cfg.nms)
        found = found[kept[: cfg.max_per_img]]
        if self.score_voting:
            found.bboxes = vote(found.bboxes, found.labels, boxes, label, ranked)
        return found
