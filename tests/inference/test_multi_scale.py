"""Multi-scale testing against merging by hand what the detector finds at each scale."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from training_runs import MakeRun

import suite.training  # noqa: F401
from suite.errors import SuiteError
from suite.inference.multi_scale import MultiScaleDetector, soft_vote
from suite.inference.score_voting import vote

SCALES = ((48, 48), (80, 80))
KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")


def _pipeline(transforms: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{"type": "LoadImageFromFile"}, {"type": "TestTimeAug", "transforms": transforms}]


def _several(scales: Any, flips: tuple[float, ...] = (0.0,), **loop: Any) -> Any:
    """A change of a config: these scales, half of them mirrored if asked for, and scores about 0.3."""

    def change(config: dict[str, Any]) -> None:
        head = config["model"]["bbox_head"]
        name = {"RetinaHead": "retina_cls", "OneAnchorHead": "atss_cls"}[head["type"]]
        override = {"type": "Normal", "name": name, "std": 0.3, "bias_prob": 0.3}
        head["init_cfg"] = {"type": "Normal", "layer": "Conv2d", "std": 0.05, "override": override}
        config["test_dataloader"]["dataset"]["pipeline"] = _pipeline(
            [
                [{"type": "Resize", "scale": scale, "keep_ratio": True} for scale in scales],
                [{"type": "RandomFlip", "prob": flip} for flip in flips],
                [{"type": "PackDetInputs", "meta_keys": KEYS}],
            ]
        )
        config["model"]["test_cfg"]["nms_pre"] = 40
        config["test_cfg"] = {"type": "MultiScaleLoop", **loop}

    return change


def _runner(run: Path) -> Any:
    config = Config.fromfile(run / "config.py")
    config.work_dir = str(run)
    runner = RUNNERS.build(config)
    torch.manual_seed(0)
    runner.model.init_weights()
    return runner


def _at_each_scale(runner: Any, **test_cfg: Any) -> dict[int, list[Any]]:
    """Samples of each version of each image, by a plain call of the model."""
    model = runner.model.eval()
    model.bbox_head.test_cfg.update(test_cfg)
    found: dict[int, list[Any]] = {}
    for batch in runner.test_dataloader:
        for inputs, samples in zip(batch["inputs"], batch["data_samples"], strict=True):
            with torch.no_grad():
                for sample in model.test_step({"inputs": inputs, "data_samples": samples}):
                    found.setdefault(sample.img_id, []).append(sample)
    return found


def _iou(one: list[float], other: list[float]) -> float:
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def _nms(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, threshold: float) -> list[int]:
    """Indices of what is left, by falling score."""
    sides, kept = boxes.tolist(), []
    for index in scores.argsort(descending=True).tolist():
        rivals = [other for other in kept if labels[other] == labels[index]]
        if all(_iou(sides[other], sides[index]) <= threshold for other in rivals):
            kept.append(index)
    return kept


def _unflipped(sample: Any) -> torch.Tensor:
    boxes = sample.pred_instances.bboxes.clone()
    if sample.flip:
        width = sample.ori_shape[1]
        boxes[:, 0], boxes[:, 2] = width - sample.pred_instances.bboxes[:, 2], width - boxes[:, 0]
    return boxes


def _detections(run: Path, image: int) -> tuple[torch.Tensor, torch.Tensor]:
    frame = pd.read_parquet(run / "detections.parquet")
    frame = frame[frame["image_id"] == image]
    x, y, w, h = (frame[name].to_numpy(np.float32) for name in "xywh")
    return torch.tensor(np.stack([x, y, x + w, y + h], axis=1)), torch.tensor(frame["score"].to_numpy())


@pytest.mark.parametrize("voting", [False, True])
def test_one_nms_over_the_candidates_of_all_scales(voting: bool, make_run: MakeRun) -> None:
    several = _several(SCALES, flips=(0.0, 1.0), merging="nms")

    def change(config: dict[str, Any]) -> None:
        if voting:
            config["model"]["bbox_head"].update(type="OneAnchorHead", auxiliary="iou", score_voting=True)
        several(config)

    run = make_run(method="ATSS" if voting else "RetinaNet", change=change)
    runner = _runner(run)
    runner.test()
    assert not (run / "coverage.parquet").exists()
    reference = _runner(run)
    if voting:
        assert runner.model.bbox_head.score_voting
        reference.model.bbox_head.score_voting = False
    nothing_removed = {"nms": {"type": "nms", "iou_threshold": 1.0}, "max_per_img": 100_000}
    versions = _at_each_scale(reference, **nothing_removed)
    assert len(versions) == 6
    for image, samples in versions.items():
        assert [(sample.img_shape[0], sample.flip) for sample in samples] == [
            (48, False), (48, True), (80, False), (80, True)]  # fmt: skip
        boxes = torch.cat([_unflipped(sample) for sample in samples])
        scores, labels = (
            torch.cat([sample.pred_instances[name] for sample in samples]) for name in ("scores", "labels")
        )
        kept = _nms(boxes, scores, labels, 0.6)[:100]
        found, found_scores = _detections(run, image)
        assert len(kept) == len(found) > 10
        assert len(kept) < len(boxes)
        expected = boxes[kept]
        if voting:
            expected = vote(expected, labels[kept], boxes, labels, scores)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(found_scores, scores[kept])


def test_one_scale_is_the_plain_test(make_run: MakeRun) -> None:
    run = make_run(change=_several(SCALES[1:]))
    _runner(run).test()
    for image, (sample,) in _at_each_scale(_runner(run)).items():
        found, scores = _detections(run, image)
        torch.testing.assert_close(found, sample.pred_instances.bboxes, atol=1e-3, rtol=0)
        torch.testing.assert_close(scores, sample.pred_instances.scores)


def _voted(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> list[tuple[float, ...]]:
    """Soft voting, one box at a time."""
    left = sorted(zip(scores.tolist(), boxes.tolist(), strict=True), reverse=True)
    result = []
    while left:
        best_score, best = left[0]
        near, rest = [], []
        for score, box in left:
            iou = _iou(best, box)
            (near if iou >= 0.66 else rest).append((score, box, iou) if iou >= 0.66 else (score, box))
        total = sum(score for score, _, _ in near)
        result.append((best_score, *(sum(s * b[i] for s, b, _ in near) / total for i in range(4))))
        for score, box, iou in near[1:]:
            if score * (1 - iou) >= threshold:
                result.append((score * (1 - iou), *box))
        left = rest
    return sorted(result)


def test_soft_voting_one_box_at_a_time() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = 8 * torch.rand(60, 2, generator=generator)
    boxes = torch.cat([corner, corner + 20 + 8 * torch.rand(60, 2, generator=generator)], dim=1)
    scores = torch.rand(60, generator=generator) * 0.9 + 0.05
    merged, raised = soft_vote(boxes, scores, 0.05)
    found = sorted((score, *box) for score, box in zip(raised.tolist(), merged.tolist(), strict=True))
    expected = _voted(boxes, scores, 0.05)
    assert 60 > len(found) == len(expected) > 5
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_soft_voting_over_the_detections_within_each_scales_range(make_run: MakeRun) -> None:
    ranges = [(20, 1000), (0, 40)]
    run = make_run(change=_several(SCALES, merging="soft_vote", size_ranges=ranges))
    _runner(run).test()
    removed = 0
    for image, samples in _at_each_scale(_runner(run)).items():
        parts = []
        for sample, (low, high) in zip(samples, ranges, strict=True):
            boxes, factor = sample.pred_instances.bboxes, sample.scale_factor[0]
            sizes = factor * ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
            kept = (sizes > low) & (sizes < high)
            removed += int((~kept).sum())
            parts.append([sample.pred_instances[name][kept] for name in ("bboxes", "scores", "labels")])
        boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        expected = sorted(
            (
                row
                for label in (0, 1)
                for row in _voted(boxes[labels == label], scores[labels == label], 0.05)
            ),
            reverse=True,
        )[:100]
        _, found_scores = _detections(run, image)
        assert found_scores.tolist() == pytest.approx([row[0] for row in expected], abs=1e-4)
    assert removed > 0


def test_an_unknown_merging_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"test_cfg\.merging: expected one of nms, soft_vote, found 'wbf'"):
        MultiScaleDetector(torch.nn.Module(), "wbf")
