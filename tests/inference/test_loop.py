"""The files of an evaluation against what the detector says itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.registry import RUNNERS
from training_runs import MakeRun

import suite.training  # noqa: F401
from suite.evaluation.ground_truth import GroundTruth


def _runner_of(run: Path) -> Any:
    config = Config.fromfile(run / "config.py")
    config.work_dir = str(run)
    return RUNNERS.build(config)


def _evaluate(run: Path) -> Any:
    runner = _runner_of(run)
    torch.manual_seed(0)
    runner.model.init_weights()
    runner.test()
    return runner


def _without_limits(config: dict[str, Any]) -> None:
    """All anchors score about 0.3, NMS as coverage does it, and images enlarged by half before detection."""
    head = config["model"]["bbox_head"]
    spread = {"type": "Normal", "layer": "Conv2d", "std": 0.05}
    name = {"RetinaHead": "retina_cls", "ATSSHead": "atss_cls"}[head["type"]]
    head["init_cfg"] = {**spread, "override": {"type": "Normal", "name": name, "std": 0.3, "bias_prob": 0.3}}
    limits = {"nms_pre": -1, "max_per_img": 100_000, "nms": {"type": "nms", "iou_threshold": 0.5}}
    config["model"]["test_cfg"].update(limits)
    config["test_dataloader"]["dataset"]["pipeline"][1]["scale"] = (96, 96)


@pytest.mark.parametrize("method", ["RetinaNet", "ATSS"])
def test_coverage_is_that_of_the_detections_where_nothing_is_limited(
    method: str, make_run: MakeRun, dataset: Path
) -> None:
    run = make_run(method=method, change=_without_limits)
    runner = _evaluate(run)
    detections, covered = (pd.read_parquet(run / f"{name}.parquet") for name in ("detections", "coverage"))
    objects = GroundTruth.load(dataset / "val.json").objects
    assert sorted(covered["annotation_id"]) == sorted(objects["id"])
    assert set(detections["category_id"]) == {3, 7}
    assert (covered["iou_before"] >= covered["iou_after"] - 1e-6).all()
    for row in covered.itertuples():
        thing = objects[objects["id"] == row.annotation_id]
        found = detections[detections["image_id"] == row.image_id]
        best = bbox_overlaps(_corners(thing), _corners(found)).max().item()
        assert row.iou_after == pytest.approx(best, abs=1e-4)
        own = found[found["category_id"] == thing["category_id"].item()]
        best = bbox_overlaps(_corners(thing), _corners(own)).max().item() if len(own) else 0.0
        assert row.iou_after_deployed == pytest.approx(best, abs=1e-4)
        assert row.iou_before_deployed >= row.iou_after_deployed - 1e-4
    assert not runner.model.bbox_head._forward_hooks


def _corners(frame: pd.DataFrame) -> torch.Tensor:
    x, y, w, h = (frame[name].to_numpy(np.float32) for name in "xywh")
    return torch.from_numpy(np.stack([x, y, x + w, y + h], axis=1))


def test_detections_are_the_models_own(make_run: MakeRun) -> None:
    run = make_run(change=_without_limits)
    runner = _evaluate(run)
    detections = pd.read_parquet(run / "detections.parquet")
    assert detections.dtypes.astype(str).tolist() == ["int64", "int64"] + ["float32"] * 5
    runner.model.eval()
    for batch in runner.test_dataloader:
        with torch.no_grad():
            samples = runner.model.test_step(batch)
        for sample in samples:
            mine = detections[detections["image_id"] == sample.img_id]
            theirs = sample.pred_instances
            torch.testing.assert_close(_corners(mine), theirs.bboxes, atol=1e-4, rtol=0)
            assert mine["score"].to_numpy() == pytest.approx(theirs.scores.numpy())
            assert mine["category_id"].tolist() == [(3, 7)[label] for label in theirs.labels]


def test_several_processes_hand_in_what_they_found_within_the_run(make_run: MakeRun) -> None:
    """mmengine's own folder, ``.dist_test``, would be left behind where the command was typed."""
    run = make_run()
    (dump,) = _runner_of(run).test_loop.dumps
    assert Path(dump.collect_dir).parent == run


def test_no_detections_at_all_is_a_result(make_run: MakeRun) -> None:
    run = make_run(change=lambda config: config["model"]["test_cfg"].update(score_thr=0.999))
    _evaluate(run)
    assert len(pd.read_parquet(run / "detections.parquet")) == 0
    covered = pd.read_parquet(run / "coverage.parquet")
    assert len(covered) > 0
    # By its own threshold nothing is left; above the papers' there are candidates.
    assert (covered[["iou_before_deployed", "iou_after_deployed"]] == 0).all(axis=None)


def test_a_detector_without_a_dense_head_has_no_coverage(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.inference.loop.BaseDenseHead", int)
    run = make_run()
    (run / "coverage.parquet").write_text("of an earlier evaluation")
    _evaluate(run)
    assert (run / "detections.parquet").exists()
    assert not (run / "coverage.parquet").exists()


def test_the_speed_is_that_of_single_images(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.inference.loop._TIMED_IMAGES", 4)
    runner = _runner_of(make_run())
    batches: list[int] = []
    clock = iter(range(1000))
    step = runner.model.test_step

    def test_step(batch: Any) -> Any:
        batches.append(len(batch["inputs"]))
        return step(batch)

    monkeypatch.setattr(runner.model, "test_step", test_step)
    monkeypatch.setattr("suite.inference.loop.time.perf_counter", lambda: next(clock) / 4)
    runner.test()
    # 4 images of warm-up, the same 4 timed, then 6 images in batches of 2.
    assert batches == [1] * 8 + [2] * 3
    assert runner.test_loop.images_per_second == 4


def test_a_head_that_decodes_in_its_own_way_has_no_coverage_and_says_so(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def predict_by_feat(self: Any, *args: Any, **kwargs: Any) -> Any:
        return BaseDenseHead.predict_by_feat(self, *args, **kwargs)

    monkeypatch.setattr(RetinaHead, "predict_by_feat", predict_by_feat)
    run = make_run()
    _evaluate(run)
    assert (run / "detections.parquet").exists() and not (run / "coverage.parquet").exists()
    notices = [line for line in capsys.readouterr().out.splitlines() if line.startswith("notice: ")]
    assert notices == ["notice: no coverage.parquet and no NMS recall: RetinaHead shows no candidates"]
