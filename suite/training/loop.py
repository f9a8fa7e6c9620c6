"""The evaluation of a detector: detections as deployed and coverage by candidates, in one forward pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.registry import LOOPS
from mmengine.model import is_model_wrapper
from mmengine.runner import TestLoop
from mmengine.runner.amp import autocast
from torch import nn

from suite.detectors.candidates import candidates
from suite.runs import RunDirectory
from suite.training.coverage import SCORE_THRESHOLD, coverage
from suite.training.metric import DetectionDump


@LOOPS.register_module()
class DetectionLoop(TestLoop):
    """mmengine's TestLoop that also measures how candidates cover the objects before and after NMS.

    The dense head's raw outputs are taken from the forward pass that makes the detections. Detectors without
    a dense ``bbox_head`` are evaluated without coverage.
    """

    def __init__(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(runner, *args, **kwargs)
        self.dumps = [metric for metric in self.evaluator.metrics if isinstance(metric, DetectionDump)]
        for dump in self.dumps:
            dump.directory = RunDirectory(Path(runner.work_dir))
            dump.category_ids = self.dataloader.dataset.cat_ids
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        head = getattr(model, "bbox_head", None)
        self.head = head if isinstance(head, BaseDenseHead) and self.dumps else None
        self.raw_outputs: tuple[Any, ...] = ()

    def run(self) -> dict[str, Any]:
        """Run the evaluation, with the head's outputs captured on the way."""
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
    def run_iter(self, idx: int, data_batch: Sequence[dict[str, Any]]) -> None:
        """Detect in one batch, cover its objects, and hand both to the evaluator."""
        self.runner.call_hook("before_test_iter", batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            samples = self.runner.model.test_step(data_batch)
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
