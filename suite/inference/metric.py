"""The files that evaluation reads: what a run detects, and how well its candidates cover the objects."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from suite.evaluation.ground_truth import GroundTruth
from suite.files import write_atomically
from suite.runs.directory import RunDirectory

_DETECTION_TYPES = dict.fromkeys(["image_id", "category_id"], "int64")
_DETECTION_TYPES |= dict.fromkeys(["score", *"xywh"], "float32")
_COVERAGE_TYPES = dict.fromkeys(["image_id", "annotation_id"], "int64")
_COVERED = ("iou_before", "iou_after", "iou_before_deployed", "iou_after_deployed")
_COVERAGE_TYPES |= dict.fromkeys(_COVERED, "float32")


def _frame(parts: list[dict[str, Any]], types: dict[str, str]) -> pd.DataFrame:
    columns = {
        name: np.concatenate([np.zeros(0, kind), *(np.asarray(part[name], kind) for part in parts)])
        for name, kind in types.items()
    }
    return pd.DataFrame(columns)


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    write_atomically(path, content.getvalue())


@METRICS.register_module()
class DetectionDump(BaseMetric):
    """Writes detections.parquet and coverage.parquet; numbers are computed from them later.

    :class:`~suite.inference.loop.DetectionLoop` says where to write and what a label's category id is. Boxes
    that are empty after rounding to the image are left out: they can match nothing, and evaluators refuse
    them.

    Args:
        ann_file: The COCO annotation file that is evaluated.
    """

    default_prefix = "suite"

    def __init__(self, ann_file: str) -> None:
        super().__init__()
        self.ann_file = ann_file
        self.directory: RunDirectory
        self.category_ids: Sequence[int]
        boxes = GroundTruth.load(ann_file).objects
        x, y, w, h = (boxes[name].to_numpy() for name in "xywh")
        corners = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32)
        ids, images = boxes["id"].to_numpy(), boxes["image_id"].to_numpy()
        categories = boxes["category_id"].to_numpy()
        order = np.argsort(images, kind="stable")
        found, starts = np.unique(images[order], return_index=True)
        rows = np.split(order, starts[1:])
        self._objects = {
            int(image): (ids[row], corners[row], categories[row])
            for image, row in zip(found, rows, strict=False)
        }

    def objects(self, image_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """An image's non-crowd objects.

        Returns:
            Annotation ids (G,); boxes (G, 4) as x1 y1 x2 y2 in pixels; labels (G,), -1 for a category that
            the detector does not know.
        """
        if image_id not in self._objects:
            return np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        ids, corners, categories = self._objects[image_id]
        labels = {category: label for label, category in enumerate(self.category_ids)}
        return ids, corners, np.array([labels.get(one, -1) for one in categories.tolist()], np.int64)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the detections of each image, and its ``coverage`` where the loop has computed it."""
        for sample in data_samples:
            image_id = int(sample["img_id"])
            found = sample["pred_instances"]
            boxes = found["bboxes"].detach().cpu().float().numpy()
            labels = found["labels"].detach().cpu().numpy()
            scores = found["scores"].detach().cpu().float().numpy()
            sizes = boxes[:, 2:] - boxes[:, :2]
            sound = (sizes > 0).all(axis=1)
            boxes, sizes, labels, scores = boxes[sound], sizes[sound], labels[sound], scores[sound]
            detections = {
                "image_id": np.full(len(boxes), image_id),
                "category_id": np.asarray(self.category_ids)[labels],
                "score": scores,
                **dict(zip("xywh", [*boxes[:, :2].T, *sizes.T], strict=True)),
            }
            if "predicted_ious" in found:
                detections["predicted_iou"] = found["predicted_ious"].detach().cpu().float().numpy()[sound]
            result: dict[str, Any] = {"detections": detections}
            if "coverage" in sample:
                ids = self.objects(image_id)[0]
                result["coverage"] = {
                    "image_id": np.full(len(ids), image_id),
                    "annotation_id": ids,
                    **{
                        name: iou.cpu().numpy()
                        for name, iou in zip(_COVERED, sample["coverage"], strict=True)
                    },
                }
            self.results.append(result)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Write the files (rank 0, with what all ranks found) and count the detections."""
        parts = [result["detections"] for result in results]
        types = dict(_DETECTION_TYPES)
        if any("predicted_iou" in part for part in parts):
            types["predicted_iou"] = "float32"
        detections = _frame(parts, types)
        _write_parquet(self.directory.detections_file, detections)
        covered = [result["coverage"] for result in results if "coverage" in result]
        if covered:
            _write_parquet(self.directory.coverage_file, _frame(covered, _COVERAGE_TYPES))
        else:
            self.directory.coverage_file.unlink(missing_ok=True)
        return {"detections": float(len(detections))}
