"""assignment.jsonl: what it says, that it leaves no trace in training, and how it survives interruption."""

import errno
import json
import os
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from training_runs import MakeRun

from suite.data.dataset import Dataset, Split
from suite.detectors.points import StridePointGenerator
from suite.errors import SuiteError
from suite.files import read_json_lines
from suite.runs.configs import names
from suite.runs.identity import identify
from suite.runs.options import at_preset, spec_at
from suite.runs.resolve import resolve
from suite.runs.resources import Resources
from suite.telemetry import AssignmentHook
from suite.telemetry.assignments import Assignment, assignments
from suite.telemetry.explanation import prior_boxes
from suite.telemetry.hook import (
    _bag,
    _load,
    _look_at_batch,
    _overlap,
)
from suite.training import worker


@MODELS.register_module()
class FickleHead(RetinaHead):
    """Matches each object to the five anchors that predict it best, and draws random numbers everywhere."""

    def loss_by_feat(self, *args, **kwargs):
        # The result depends on the generators' states.
        factor = 1 + float(torch.rand(1)) + np.random.rand() + random.random()
        losses = super().loss_by_feat(*args, **kwargs)
        return {name: [value * factor for value in values] for name, values in losses.items()}


@assignments.register(FickleHead)
def _(self, outs, batch_gt_instances, batch_img_metas):
    cls_scores, bbox_preds = outs
    torch.rand(3), np.random.rand(), random.random()
    assert not bbox_preds[0].requires_grad and not self.training
    priors = torch.cat(
        self.prior_generator.grid_priors([score.shape[-2:] for score in cls_scores], device="cpu")
    )
    found = []
    for image, instances in enumerate(batch_gt_instances):
        deltas = torch.cat([level[image].permute(1, 2, 0).reshape(-1, 4) for level in bbox_preds])
        boxes = self.bbox_coder.decode(priors, deltas)
        iou, members = bbox_overlaps(instances.bboxes, boxes).topk(5, dim=1)
        positive = iou >= iou.amax(dim=1, keepdim=True) / 2
        found.append(Assignment(members, iou, positive, torch.ones_like(positive), iou))
    return found


def watched(config: dict[str, Any], interval: int = 2, **arguments: Any) -> None:
    config["custom_hooks"].append({"type": "AssignmentHook", "interval": interval, "images": 5, **arguments})


def fickle(config: dict[str, Any]) -> None:
    config["model"]["bbox_head"]["type"] = "FickleHead"
    # Statistics that a forward pass would change, next to frozen ones that it must not wake.
    config["model"]["backbone"].update(norm_eval=False, frozen_stages=1)


def fickle_and_watched(config: dict[str, Any]) -> None:
    fickle(config)
    watched(config)


def lines(run: Path) -> list[dict[str, Any]]:
    found = read_json_lines(run / "assignment.jsonl")
    assert all(line.pop("seconds") > 0 for line in found)
    return found


@pytest.fixture(scope="module")
def fickle_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a head whose matching changes, with the hook; do not change it."""
    from training_runs import run_config, write_run

    config = run_config(dataset)
    fickle_and_watched(config)
    path = write_run(tmp_path_factory.mktemp("fickle") / "run", config)
    assert worker.main([str(path)]) == 0
    return path


def test_what_a_line_holds(fickle_run: Path) -> None:
    found = lines(fickle_run)
    assert [line["step"] for line in found] == [0, 2, 4, 6, 8, 9]
    assert [line["epoch"] for line in found] == [1, 1, 2, 2, 3, 3]
    for line in found:
        assert line["objects"] == len(line["per_object"]) >= 5
        assert line["positives"]["all"] == pytest.approx(sum(line["per_object"]) / line["objects"], abs=1e-4)
        assert line["positives"]["max"] == max(line["per_object"]) <= 5
        assert line["positives"]["large"] is None, "images of 64 px have no object of 96 px"
        assert 0 <= line["entropy"] <= 1 and 0 <= line["ambiguous"] <= 1
        assert 0 < line["quality"]["score"] < 1 and 0 <= line["quality"]["iou"] <= 1
        assert -1 <= line["quality"]["correlation"] <= 1 and "ranking" not in line
        assert len(line["bags"]) == len({bag["image_id"] for bag in line["bags"]}) == 4
    assert found[0]["overlap"] is None
    overlaps = [line["overlap"] for line in found[1:]]
    assert all(0 <= overlap <= 1 for overlap in overlaps)
    assert 0 < np.mean(overlaps) < 1, "a matching that changes, but not all of it"


def test_bags_follow_the_same_objects(fickle_run: Path) -> None:
    found = lines(fickle_run)
    objects = [
        [(bag["image_id"], bag["object"], bag["category"], bag["box"]) for bag in line["bags"]]
        for line in found
    ]
    assert objects.count(objects[0]) == len(objects)
    for line in found:
        for bag in line["bags"]:
            assert (
                len(bag["anchors"]) == len(bag["confidence"]) == len(bag["iou"]) == len(bag["positive"]) == 5
            )
            assert bag["iou"] == pytest.approx(bag["confidence"], abs=1e-3)
            highest = max(bag["confidence"])
            assert bag["positive"] == [int(value >= highest / 2) for value in bag["confidence"]]
            assert bag["category"] in ("dark", "light")


def test_the_transform_leads_from_the_annotations_to_the_box(fickle_run: Path, dataset: Path) -> None:
    annotations = json.loads((dataset / "train.json").read_text())["annotations"]
    flips = set()
    for bag in lines(fickle_run)[0]["bags"]:
        (across, down), flip = bag["transform"]["scale"], bag["transform"]["flip"]
        boxes = []
        for annotation in annotations:
            if annotation["image_id"] == bag["image_id"]:
                x, y, w, h = annotation["bbox"]
                x1, x2 = across * x, across * (x + w)
                if flip == "horizontal":
                    x1, x2 = (bag["transform"]["shape"][1] - side for side in (x2, x1))
                boxes.append([x1, down * y, x2, down * (y + h)])
        assert any(bag["box"] == pytest.approx(box, abs=0.06) for box in boxes)
        flips.add(flip)
    assert flips == {None, "horizontal"}


def test_a_bag_tells_what_the_head_predicts(fickle_run: Path) -> None:
    for line in lines(fickle_run):
        for bag in line["bags"]:
            boxes = torch.tensor(bag["predicted"])
            found = bbox_overlaps(torch.tensor([bag["box"]]), boxes)[0].tolist()
            assert found == pytest.approx(bag["iou"], abs=0.03), "boxes are rounded to 0.1 pixel"
            around = bag["around"]
            assert {len(values) for values in around.values()} == {50}
            assert all(0 <= score <= 1 for score in around["class_score"])
    first, *others = ([bag["around"]["anchors"] for bag in line["bags"]] for line in lines(fickle_run))
    assert all(other == first for other in others)


def test_bags_are_of_the_most_slender_objects_first(fickle_run: Path) -> None:
    boxes = [bag["box"] for bag in lines(fickle_run)[0]["bags"]]
    sides = [sorted((x2 - x1, y2 - y1)) for x1, y1, x2, y2 in boxes]
    order = [(short * long < 32**2, -long / short) for short, long in sides]
    assert order == sorted(order)


def test_the_same_images_for_every_method_of_a_seed(make_run: MakeRun, fickle_run: Path) -> None:
    run = make_run(change=watched, method="ATSS")
    torch.manual_seed(7)
    assert worker.main([str(run)]) == 0
    found = lines(run)
    here, there = found[0]["bags"], lines(fickle_run)[0]["bags"]
    keys = ("image_id", "object", "category", "box")
    assert [[bag[key] for key in keys] for bag in here] == [[bag[key] for key in keys] for bag in there]
    # A fixed assigner does not change its mind.
    assert {line["overlap"] for line in found[1:]} == {1.0}
    assert len({str(line["per_object"]) for line in found}) == 1
    assert {tuple(bag["positive"]) for bag in here} == {(1,) * len(bag["positive"]) for bag in here}


def test_it_leaves_no_trace_in_the_training(make_run: MakeRun, fickle_run: Path) -> None:
    run = make_run(change=fickle)
    assert worker.main([str(run)]) == 0
    one, two = (
        torch.load(path / "checkpoints" / "latest.pth", weights_only=False) for path in (run, fickle_run)
    )
    assert one["state_dict"].keys() == two["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name
    for key, state in one["optimizer"]["state"].items():
        assert torch.equal(state["momentum_buffer"], two["optimizer"]["state"][key]["momentum_buffer"])
    losses = [
        [line["loss"] for line in read_json_lines(path / "metrics.jsonl")] for path in (run, fickle_run)
    ]
    assert losses[0] == losses[1]
    pd.testing.assert_frame_equal(
        *(pd.read_parquet(path / "detections.parquet") for path in (run, fickle_run))
    )


def test_interrupted_and_resumed_writes_the_same_lines(make_run: MakeRun, fickle_run: Path) -> None:
    """Interrupted in epoch 2, after a line that the resumed training writes again, within another one."""
    run = make_run(change=fickle_and_watched)

    class Stop(Exception):
        pass

    def stop(hook: Any, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if runner.iter == 4:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("suite.training.hooks.LatestCheckpointHook.after_train_iter", stop, raising=False)
        assert worker.main([str(run)]) == 1
    assert [line["step"] for line in lines(run)] == [0, 2, 4]
    with (run / "assignment.jsonl").open("a") as stream:
        stream.write('{"step": 6, "posi')
    assert worker.main([str(run)]) == 0
    assert lines(run) == lines(fickle_run)
    assert lines(run)[2]["overlap"] is not None, "with the line before the interruption"


def test_a_training_anew_forgets_the_lines_of_the_old_one(make_run: MakeRun, fickle_run: Path) -> None:
    run = make_run(change=fickle_and_watched)
    (run / "assignment.jsonl").write_text('{"step": 0, "old": 1}\n{"step": 8, "old": 1}\n')
    assert worker.main([str(run)]) == 0
    assert lines(run) == lines(fickle_run)


def test_a_full_disk_is_named(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_for_assignments(path: Path, value: Any) -> None:
        if path.name == "assignment.jsonl":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = make_run(change=watched)
    monkeypatch.setattr("suite.training.hooks.append_json_line", full_for_assignments)
    assert worker.main([str(run)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "assignment.jsonl: cannot write (No space left on device)" in last
    assert "resumes" in last


def test_a_diverged_training_is_still_called_so(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(config: dict[str, Any]) -> None:
        watched(config, interval=1)
        config["optim_wrapper"]["optimizer"]["lr"] = 1e12
        config["param_scheduler"] = []
        del config["optim_wrapper"]["clip_grad"]

    run = make_run(change=diverge)
    assert worker.main([str(run)]) == 1
    error = re.search(r"step (\d+) .* the training has diverged", capsys.readouterr().out.splitlines()[-1])
    assert error
    assert lines(run)[-1]["step"] < int(error[1])
    assert "NaN" not in (run / "assignment.jsonl").read_text()


def test_a_head_that_does_not_tell_is_left_alone(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(change=watched, method="PAA", epochs=1)
    assert worker.main([str(run)]) == 0
    assert capsys.readouterr().out.count("notice: no assignment.jsonl: PAAHead") == 1
    assert not (run / "assignment.jsonl").exists()


def test_a_head_without_a_box_coder_tells_its_matching_alone() -> None:
    class Head:
        prior_generator = StridePointGenerator([8])

        def __call__(self, features: Any) -> Any:
            return [torch.zeros(1, 2, 4, 4)], [torch.zeros(1, 7, 4, 4)]

    @assignments.register(Head)
    def _(*_: Any) -> list[Assignment]:
        members, one = torch.tensor([[3, 5]]), torch.ones(1, 2)
        return [Assignment(members, one, one.bool(), one.bool(), one)]

    sample = DetDataSample(metainfo=dict(img_id=4, img_shape=(32, 32)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[0.0, 0, 8, 8]]), labels=torch.tensor([0]))
    model: Any = SimpleNamespace(
        data_preprocessor=lambda batch, training: batch, extract_feat=lambda inputs: inputs, bbox_head=Head()
    )
    images, record = _look_at_batch(model, {"inputs": None, "data_samples": [sample]})
    assert set(_bag(images[0], ("disc",))) == {
        "image_id", "object", "category", "box", "transform", "anchors", "confidence", "iou", "positive",
    }  # fmt: skip
    assert record == {}, "its maps may not be scores"


def test_only_the_main_process_looks(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(change=fickle_and_watched, epochs=1)
    monkeypatch.setattr("suite.telemetry.hook.is_main_process", lambda: False)
    assert worker.main([str(run)]) == 0
    assert not (run / "assignment.jsonl").exists()


@pytest.mark.parametrize("half", [False, True])
def test_it_looks_in_the_precision_of_the_training(
    half: bool, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmengine's AmpOptimWrapper needs a GPU; what is asked of it is its type and its ``cast_dtype``."""
    seen = set()

    def spy(head: Any, outs: Any, *batch: Any) -> Any:
        seen.add(outs[0][0].dtype)
        return assignments(head, outs, *batch)

    monkeypatch.setattr("suite.telemetry.hook.assignments", spy)
    if half:
        monkeypatch.setattr("suite.telemetry.hook.AmpOptimWrapper", OptimWrapper)
        monkeypatch.setattr(OptimWrapper, "cast_dtype", torch.bfloat16, raising=False)
    assert worker.main([str(make_run(change=watched, epochs=1))]) == 0
    assert seen == {torch.bfloat16 if half else torch.float32}


@pytest.mark.parametrize("preset", names("presets"))
def test_every_preset_has_it_and_no_identity_depends_on_it(preset: str, tmp_path: Path) -> None:
    dataset = Dataset("one", "shapes", tmp_path, *[Split(tmp_path, tmp_path, 1, 1, "0")] * 2, ("dot",))
    for method in names("methods"):
        if at_preset(method, {}, preset).why_not:
            continue
        spec = spec_at(method, preset, 0)
        try:
            config = resolve(spec, dataset)
        except SuiteError:  # a method without a form of this scale
            continue
        assert "AssignmentHook" in [hook["type"] for hook in config["custom_hooks"]]
        identity = identify(spec, config, dataset, Resources(1, 0))[1]
        assert not [name for name in (*identity.training, *identity.evaluation) if "telemetry" in name]


def test_a_detector_without_a_dense_head_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = AssignmentHook(interval=1)
    runner: Any = SimpleNamespace(model=torch.nn.Linear(1, 1), work_dir=str(tmp_path), iter=0, max_iters=1)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    assert capsys.readouterr().out.count("notice: ") == 1
    assert not list(tmp_path.iterdir())


def test_images_are_spread_evenly_and_batched_like_training() -> None:
    loader = SimpleNamespace(dataset=list(range(10)), batch_size=2, collate_fn=list)
    assert _load(loader, 5) == [[0, 2], [4, 6], [8]]
    assert _load(loader, 99) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    loader.batch_size, loader.batch_sampler = None, SimpleNamespace(batch_size=3)
    assert _load(loader, 4) == [[0, 2, 5], [7]]


def test_overlap_by_hand() -> None:
    assert _overlap(None, [[1]]) is None
    assert _overlap([[1, 2, 3], [], [4]], [[2, 3, 5, 6], [], []]) == (2 / 5 + 0) / 2
    assert _overlap([[]], [[]]) is None
    assert _overlap([[1]], [[1], [2]]) is None, "other objects than before"


def test_points_become_squares_of_their_stride() -> None:
    head = SimpleNamespace(prior_generator=StridePointGenerator([8, 16]))
    boxes = prior_boxes(head, [torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 1, 1)])
    assert boxes.tolist() == [[0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16], [8, 8, 16, 16], [0, 0, 16, 16]]
