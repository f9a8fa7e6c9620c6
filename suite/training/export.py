"""Detect on test-dev with a finished run: ``python -m suite.training.export EXPORT_DIR [--launcher ...]``.

The folder is the run's ``test_dev/`` with ``spec.json`` and ``annotations.json``, as
:mod:`suite.scheduling.export` makes it. The zipped results file that COCO's evaluation server asks for is
left there, ``result.json`` last. Exit codes are the worker's.
"""

import datetime
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.registry import RUNNERS

from suite.errors import SuiteError
from suite.evaluation.test_dev import FEWER, MAX_PER_IMAGE, PARTS, zip_file
from suite.files import read_json, sha256, write_atomically, write_json
from suite.runs.directory import RunDirectory
from suite.training.worker import connect, fit_to_cores, load_config, main, set_arithmetic

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip file knows: the same detections give the same bytes."""


@METRICS.register_module()
class ResultsFile(BaseMetric):
    """Writes detections in COCO's results format, boxes to a hundredth of a pixel, each image's best first.

    Boxes that are empty after rounding are left out: they can match nothing.

    Args:
        path: The zip file; the file in it has the same name and ends in ``.json``.
        category_ids: Category of each label.
    """

    default_prefix = "suite"

    def __init__(self, path: str, category_ids: Sequence[int]) -> None:
        super().__init__()
        self.path = Path(path)
        self.category_ids = np.asarray(category_ids)
        self.sha256 = ""

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the detections of each image.

        Raises:
            SuiteError: An image has more of them than the server counts.
        """
        for sample in data_samples:
            image, found = int(sample["img_id"]), sample["pred_instances"]
            boxes = found["bboxes"].detach().cpu().double().numpy()
            boxes = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).round(2)
            scores = found["scores"].detach().cpu().double().numpy().round(6)
            labels = found["labels"].detach().cpu().numpy()
            order = np.argsort(-scores, kind="stable")
            order = order[(boxes[order, 2:] > 0).all(axis=1)]
            if len(order) > MAX_PER_IMAGE:
                raise SuiteError(
                    f"image {image}: {len(order)} detections; the server counts {MAX_PER_IMAGE}.", FEWER
                )
            self.results.append((image, self.category_ids[labels[order]], scores[order], boxes[order]))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Write the file (rank 0, with what all ranks found) and count the detections."""
        content, digest, count = io.BytesIO(), hashlib.sha256(), 0
        member = zipfile.ZipInfo(f"{self.path.stem}.json", _FIRST_DATE)
        member.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(content, "w") as archive, archive.open(member, "w", force_zip64=True) as stream:
            for text in _as_json(results):
                count += text.count('"image_id"')
                digest.update(text.encode())
                stream.write(text.encode())
        write_atomically(self.path, content.getvalue())
        self.sha256 = digest.hexdigest()
        return {"detections": float(count)}


def _as_json(results: Iterable[Any]) -> Iterator[str]:
    """The results file, image by image: the whole of it as Python objects would take gigabytes."""
    separator = "["
    for image, categories, scores, boxes in results:
        rows = zip(categories.tolist(), scores.tolist(), boxes.tolist(), strict=True)
        for category, score, box in rows:
            row = {"image_id": image, "category_id": category, "bbox": box, "score": score}
            yield separator + json.dumps(row, separators=(",", ":"), allow_nan=False)
            separator = ",\n"
    yield "[]" if separator == "[" else "]"


def detect(export: RunDirectory, launcher: str) -> None:
    """Run the detector over test-dev; write the results file, and what it is of."""
    spec = export.spec()
    run = RunDirectory(export.path.parent)
    config = load_config(run, launcher)
    fit_to_cores(config)
    set_arithmetic()
    if launcher != "none":
        connect(config)
    if is_main_process():
        export.result_file.unlink(missing_ok=True)
    config.work_dir = str(export.path.resolve())
    config.load_from, config.resume = spec["checkpoint"], False
    annotations = read_json(export.path / "annotations.json")
    config.test_dataloader.dataset.update(
        data_root="",
        ann_file=str((export.path / "annotations.json").resolve()),
        data_prefix={"img": spec["images"]},
    )
    config.test_evaluator = {
        "type": "ResultsFile",
        "path": str(zip_file(run).resolve()),
        "category_ids": [category["id"] for category in annotations["categories"]],
    }
    runner = RUNNERS.build(config)
    found = runner.test()
    if is_main_process():
        (metric,) = runner.test_loop.evaluator.metrics
        finished = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        write_json(
            export.result_file,
            {
                **{name: spec[name] for name in ("run_id", *PARTS)},
                "metrics": {},  # the server has them
                "detections": int(found["suite/detections"]),
                "results_sha256": metric.sha256,
                "files": {
                    metric.path.name: {"sha256": sha256(metric.path), "bytes": metric.path.stat().st_size}
                },
                "finished": finished,
            },
        )
        print(f"done: {int(found['suite/detections'])} detections", flush=True)


if __name__ == "__main__":
    sys.exit(main(task=detect))
