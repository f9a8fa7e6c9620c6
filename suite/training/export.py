"""Detect on test-dev with a finished run: ``python -m suite.training.export EXPORT_DIR [--launcher ...]``.

Needs ``config.py`` and ``spec.json`` in the folder, which is the run's ``test_dev/``, and leaves the zipped results
file that COCO's evaluation server asks for there, ``result.json`` last. What it exits with is as the worker's.
"""

import datetime
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.dist import init_dist, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.registry import RUNNERS

from suite.errors import SuiteError
from suite.evaluation.test_dev import MAX_PER_IMAGE
from suite.files import sha256, write_atomically, write_json
from suite.runs.directory import RunDirectory
from suite.training.worker import carry_out, load_config

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip file knows: the same detections give the same bytes."""


@METRICS.register_module()
class ResultsFile(BaseMetric):
    """Writes detections as COCO's results format has them: boxes to a hundredth of a pixel, best first by image.

    Args:
        path: The zip file; the file in it has the same name and ends in ``.json``.
        category_ids: Category of each label.
    """

    default_prefix = "suite"

    def __init__(self, path: str, category_ids: Sequence[int]) -> None:
        super().__init__()
        self.path = Path(path)
        self.category_ids = category_ids
        self.sha256 = ""

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the detections of each image.

        Raises:
            SuiteError: An image has more of them than the server counts.
        """
        for sample in data_samples:
            found = sample["pred_instances"]
            boxes = found["bboxes"].detach().cpu().double().numpy()
            sizes = boxes[:, 2:] - boxes[:, :2]
            lines = np.column_stack([boxes[:, :2], sizes]).round(2)
            scores = found["scores"].detach().cpu().double().numpy().round(6)
            labels = found["labels"].detach().cpu().numpy()
            sound = (lines[:, 2:] > 0).all(axis=1)
            if sound.sum() > MAX_PER_IMAGE:
                raise SuiteError(
                    f"image {sample['img_id']}: {sound.sum()} detections; the server counts {MAX_PER_IMAGE}.",
                    "Export a run that keeps no more of them (max_per_img of its model's test_cfg).",
                )
            order = np.argsort(-scores[sound], kind="stable")
            rows = zip(labels[sound][order], scores[sound][order], lines[sound][order], strict=True)
            image = int(sample["img_id"])
            self.results.append(
                [
                    {
                        "image_id": image,
                        "category_id": int(self.category_ids[label]),
                        "bbox": box.tolist(),
                        "score": float(score),
                    }
                    for label, score, box in rows
                ]
            )

    def compute_metrics(self, results: list[list[dict[str, Any]]]) -> dict[str, float]:
        """Write the file (rank 0, with what all ranks found) and count the detections."""
        detections = [detection for image in results for detection in image]
        payload = json.dumps(detections, separators=(",", ":"), allow_nan=False).encode()
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(
                zipfile.ZipInfo(f"{self.path.stem}.json", _FIRST_DATE), payload, zipfile.ZIP_DEFLATED
            )
        write_atomically(self.path, content.getvalue())
        self.sha256 = hashlib.sha256(payload).hexdigest()
        return {"detections": float(len(detections))}


def detect(export: RunDirectory, launcher: str) -> None:
    """Run the detector over test-dev, write the results file, and what it is of."""
    spec = export.spec()
    config = load_config(export, launcher)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    if launcher != "none":
        init_dist(launcher, **config.get("env_cfg", {}).get("dist_cfg", {}))
    if is_main_process():
        export.result_file.unlink(missing_ok=True)
    runner = RUNNERS.build(config)
    counted = runner.test()
    if not is_main_process():
        return
    (metric,) = runner.test_loop.evaluator.metrics
    files = {metric.path.name: {"sha256": sha256(metric.path), "bytes": metric.path.stat().st_size}}
    finished = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    write_json(
        export.result_file,
        {
            "run_id": spec["run_id"],
            "metrics": {},
            "evaluated": spec["identity"]["evaluated"],
            "checkpoint_sha256": spec["identity"]["checkpoint"],
            "images": len(runner.test_loop.dataloader.dataset),
            "detections": int(counted["suite/detections"]),
            "results_sha256": metric.sha256,
            "files": files,
            "finished": finished,
        },
    )
    print(f"done: {int(counted['suite/detections'])} detections", flush=True)


if __name__ == "__main__":
    raise SystemExit(carry_out(detect, __doc__.splitlines()[0]))
