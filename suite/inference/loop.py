"""The evaluation of a detector: detections as deployed and coverage by candidates, in one forward pass."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.models.dense_heads import PAAHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.registry import LOOPS
from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import TestLoop
from mmengine.runner.amp import autocast
from torch import nn

from suite.inference.candidates import candidates
from suite.inference.coverage import SCORE_THRESHOLD, coverage
from suite.inference.metric import DetectionDump
from suite.runs.directory import RunDirectory

_TIMED_IMAGES = 50
_WARM_UP = 5


@LOOPS.register_module()
class DetectionLoop(TestLoop):
    """mmengine's TestLoop that also measures the coverage of the objects before and after NMS, and the speed.

    The dense head's raw outputs are taken from the forward pass that makes the detections. Detectors whose
    boxes do not come from a dense head, or whose head decodes them in a way of its own, are evaluated without
    coverage, and a notice says so.

    Attributes:
        images_per_second: Speed of the network with its post-processing at one image per batch, the median
            over the first 50 images after a warm-up; loading of images is not counted. None before
            :meth:`run`.
    """

    def __init__(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(runner, *args, **kwargs)
        self.dumps = [metric for metric in self.evaluator.metrics if isinstance(metric, DetectionDump)]
        for dump in self.dumps:
            dump.directory = RunDirectory(Path(runner.work_dir))
            # Where several processes hand in what they found; mmengine would leave its own folder behind.
            dump.collect_dir = str(dump.directory.path / "collected")
            dump.category_ids = self.dataloader.dataset.cat_ids
        self.head = self.dense_head() if self.dumps else None
        self.raw_outputs: tuple[Any, ...] = ()
        self.images_per_second: float | None = None

    def dense_head(self) -> BaseDenseHead | None:
        """The head whose candidates cover the objects, or None, with a notice, if there is none."""
        model = self.runner.model.module if is_model_wrapper(self.runner.model) else self.runner.model
        head = getattr(model, "bbox_head", None)
        if isinstance(head, BaseDenseHead) and _decodes_as_usual(head):
            return head
        if is_main_process():
            name = type(head if head is not None else model).__name__
            print(f"notice: no coverage.parquet and no NMS recall: {name} shows no candidates")
        return None

    def detect(self, data_batch: Any) -> Sequence[Any]:
        """Detections of a batch as the dataloader makes it: one sample per image, in original pixels."""
        samples: Sequence[Any] = self.runner.model.test_step(data_batch)
        return samples

    def run(self) -> dict[str, Any]:
        """Measure the speed, then run the evaluation, with the head's outputs captured on the way."""
        self.images_per_second = self._speed()
        if self.head is None:
            return super().run()
        handle = self.head.register_forward_hook(self._capture)
        try:
            return super().run()
        finally:
            handle.remove()
            self.raw_outputs = ()

    def _capture(self, head: nn.Module, inputs: Any, outputs: tuple[Any, ...]) -> None:
        self.raw_outputs = outputs

    @torch.no_grad()
    def _speed(self) -> float:
        self.runner.model.eval()
        dataset, collate = self.dataloader.dataset, self.dataloader.collate_fn
        timed = range(min(_TIMED_IMAGES, len(dataset)))
        seconds = []
        for index in [*timed[:_WARM_UP], *timed]:
            batch = collate([dataset[index]])
            _synchronize()
            started = time.perf_counter()
            with autocast(enabled=self.fp16):
                self.detect(batch)
            _synchronize()
            seconds.append(time.perf_counter() - started)
        return 1 / statistics.median(seconds[-len(timed) :])

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Sequence[dict[str, Any]]) -> None:
        """Detect in one batch, cover its objects, and hand both to the evaluator."""
        self.runner.call_hook("before_test_iter", batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            samples = self.detect(data_batch)
        if self.head is not None:
            self._cover(samples)
        self.evaluator.process(data_samples=samples, data_batch=data_batch)
        self.runner.call_hook("after_test_iter", batch_idx=idx, data_batch=data_batch, outputs=samples)

    def _cover(self, samples: Sequence[Any]) -> None:
        metas = [sample.metainfo for sample in samples]
        assert self.head is not None
        settings = self.head.test_cfg
        threshold = min(SCORE_THRESHOLD, settings.get("score_thr", SCORE_THRESHOLD))
        found = candidates(self.head, self.raw_outputs, metas, score_threshold=threshold)
        for sample, image_candidates in zip(samples, found, strict=True):
            _, boxes, labels = self.dumps[0].objects(int(sample.img_id))
            covered = coverage(
                image_candidates,
                sample.pred_instances,
                torch.from_numpy(boxes),
                torch.from_numpy(labels),
                settings,
            )
            sample.set_metainfo({"coverage": covered})


def _decodes_as_usual(head: BaseDenseHead) -> bool:
    """Whether :func:`~suite.inference.candidates.candidates` reads the head's outputs as the head does.

    Heads that override mmdet's ``predict_by_feat`` (FoveaBox, RepPoints, Guided Anchoring, CornerNet) have
    outputs of other meaning; PAA's, and heads that say how they combine scores, differ in the scores alone.
    """
    if isinstance(head, PAAHead) or hasattr(head, "combined_scores"):
        return True
    methods = ("predict_by_feat", "_predict_by_feat_single")
    return all(getattr(type(head), name) is getattr(BaseDenseHead, name) for name in methods)


def _synchronize() -> None:
    """Wait for what a GPU still has to do."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
