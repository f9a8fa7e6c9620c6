"""Checkpoints of others: stock mmdet models with random weights detect the same here, to the bit."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import mmdet
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.logging import MessageHub
from mmengine.utils import import_modules_from_strings

from suite.adoption import _evaluating, assignments
from suite.errors import SuiteError
from suite.runs.resolve import compose
from suite.runs.spec import RunSpec
from suite.training.adopted import Foreign, check_sameness, fitted, read_foreign, write_adopted

ZOO = Path(mmdet.__file__).parent / ".mim" / "configs"
CAFFE = {
    "model.data_preprocessor.mean": [102.9801, 115.9465, 122.7717],
    "model.data_preprocessor.std": [1.0, 1.0, 1.0],
    "model.data_preprocessor.bgr_to_rgb": False,
    "model.backbone.style": "caffe",
}
STOCK = {
    "retinanet": ("retinanet/retinanet_r50_fpn_1x_coco.py", {}),
    "free_anchor": (
        "free_anchor/freeanchor_r50_fpn_1x_coco.py", {"model.neck.add_extra_convs": "on_input"},
    ),
    "atss": ("atss/atss_r50_fpn_1x_coco.py", {}),
    "paa": ("paa/paa_r50_fpn_1x_coco.py", {}),
    "fcos": ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", CAFFE),
    "foveabox": ("foveabox/fovea_r50_fpn_4xb4-1x_coco.py", {}),
    "fsaf": ("fsaf/fsaf_r50_fpn_1x_coco.py", {}),
}  # fmt: skip
"""Method -> mmdet's own config of it, and the changes with which `suite adopt` takes its checkpoint."""

SMALL = {
    "backbone": {"base_channels": 4, "init_cfg": None},
    "neck": {"in_channels": [16, 32, 64, 128], "out_channels": 32},
    "bbox_head": {"in_channels": 32, "feat_channels": 32, "stacked_convs": 1},
}


def smaller(model: dict[str, Any]) -> dict[str, Any]:
    """A detector a sixteenth as wide; all else stays."""
    return {**model, **{part: {**model[part], **sizes} for part, sizes in SMALL.items()}}


def build(model: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(model, _scope_="mmdet")).eval()


def stock(method: str) -> tuple[Config, Any]:
    """mmdet's own config, and its detector with random weights that find something."""
    register_all_modules(init_default_scope=False)
    config = Config.fromfile(ZOO / STOCK[method][0])
    detector = build(smaller(config.model.to_dict()))
    detector.init_weights()
    for name, parameter in detector.bbox_head.named_parameters():
        if "cls" in name:
            torch.nn.init.normal_(parameter, 0, 0.3)
    return config, detector


def ours(method: str) -> dict[str, Any]:
    """The config with which `suite adopt` evaluates, made smaller."""
    config = _evaluating(compose(RunSpec(method, "paper", 0)), STOCK[method][1])
    import_modules_from_strings(**config["custom_imports"])
    return {**config, "model": smaller(config["model"])}


def photos(folder: Path) -> Iterator[Path]:
    """Pictures of several shapes with edges, gradients and noise; and some of COCO_ROOT, where it is set."""
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate([(120, 180), (200, 150), (97, 301)]):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:] = np.linspace(0, 200, width)[None, :, None]
        for _ in range(12):
            x, y = int(rng.integers(width)), int(rng.integers(height))
            colour = tuple(int(value) for value in rng.integers(0, 255, 3))
            cv2.ellipse(picture, (x, y), (int(rng.integers(5, 60)), 20), 30, 0, 360, colour, -1)
        noisy = picture + rng.normal(0, 8, picture.shape)
        path = folder / f"{number}.jpg"
        cv2.imwrite(str(path), noisy.clip(0, 255).astype(np.uint8))
        yield path
    if root := os.environ.get("COCO_ROOT"):
        yield from sorted((Path(root) / "val2017").iterdir())[:5]


def detections(
    detector: Any, pipeline: list[dict[str, Any]], photo: Path, scale: tuple[int, int] = (333, 200)
) -> Any:
    """What a detector finds in a photo that goes through a config's own test pipeline."""
    steps = [dict(step) for step in pipeline if step["type"] != "LoadAnnotations"]
    for step in steps:
        step["type"] = f"mmdet.{step['type']}" if step["type"] != "LoadImageFromFile" else "LoadImageFromFile"
        if step["type"] == "mmdet.Resize":
            assert tuple(step["scale"]) == (1333, 800)
            step["scale"] = scale
    sample = Compose(steps)({"img_path": str(photo), "img_id": 0})
    with torch.no_grad():
        (found,) = detector.test_step(
            {"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]}
        )
    return found.pred_instances


def adopted(method: str, theirs: Any, folder: Path, **test_cfg: Any) -> tuple[dict[str, Any], Any]:
    """Our config for a stock detector's checkpoint, and our detector with what was adopted of it."""
    path = folder / "epoch_12.pth"
    torch.save({"meta": {"mmdet_version": "2.28.2"}, "state_dict": theirs.state_dict()}, path)
    config = ours(method)
    write_adopted(fitted(read_foreign(path), config, path.name), folder / "adopted.pth")
    model = {**config["model"], "test_cfg": {**config["model"]["test_cfg"], **test_cfg}}
    detector = build(model)
    detector.load_state_dict(torch.load(folder / "adopted.pth", weights_only=True)["state_dict"])
    return config, detector


@pytest.mark.parametrize("method", [name for name in STOCK if name != "paa"])
def test_our_inference_gives_what_mmdets_gives(method: str, tmp_path: Path) -> None:
    """Of ATSS where no level has too many candidates: mmdet chooses by class score, we by the product."""
    config, theirs = stock(method)
    limits = {"nms_pre": 10**6} if method == "atss" else {}
    theirs.bbox_head.test_cfg.update(limits)
    own, detector = adopted(method, theirs, tmp_path, **limits)
    count = 0
    for photo in photos(tmp_path):
        expected = detections(theirs, config.test_dataloader.dataset.pipeline, photo)
        found = detections(detector, own["test_dataloader"]["dataset"]["pipeline"], photo)
        if method == "atss":  # the root of class score x centerness, as released; mmdet: their product
            assert torch.allclose(found.scores.square(), expected.scores, rtol=1e-5)
        else:
            assert torch.equal(found.scores, expected.scores)
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.bboxes, expected.bboxes)
        count += len(found.scores)
    assert count > 50


def test_paa_differs_from_mmdets_in_which_candidates_enter_nms_and_in_nothing_else(tmp_path: Path) -> None:
    """All enter here: mmdet cuts them by the combined score and by anchors, we by the class score."""
    everything = {"nms_pre": 10**6, "score_thr": 0.0}
    config, theirs = stock("paa")
    theirs.bbox_head.test_cfg.update(everything)
    own, detector = adopted("paa", theirs, tmp_path, **everything)
    for photo in list(photos(tmp_path))[1:3]:
        expected = detections(theirs, config.test_dataloader.dataset.pipeline, photo, (240, 150))
        found = detections(detector, own["test_dataloader"]["dataset"]["pipeline"], photo, (240, 150))
        best_first = torch.from_numpy(np.lexsort((expected.labels, -expected.scores)))
        assert torch.allclose(found.scores, expected.scores[best_first], rtol=1e-6)
        assert torch.equal(found.labels, expected.labels[best_first])
        assert torch.allclose(found.bboxes, expected.bboxes[best_first], atol=1e-3)


def test_another_preprocessing_is_refused_with_the_settings_that_mend_it() -> None:
    text = Config.fromfile(ZOO / STOCK["fcos"][0]).pretty_text
    model, foreign = ours("fcos")["model"], Foreign({}, {"cfg": text})
    plain = compose(RunSpec("fcos", "paper", 0))["model"]
    check_sameness(foreign, model, (), "fcos.pth")
    with pytest.raises(SuiteError, match=r"fcos.pth: was trained with another preprocessing") as caught:
        check_sameness(foreign, plain, (), "fcos.pth")
    settings = str(caught.value.remedy).split("--set ")[1:]
    given = assignments([text.strip(" '.") for text in settings], "--set")
    assert given == CAFFE


def test_other_classes_are_refused() -> None:
    foreign = Foreign({}, {"dataset_meta": {"classes": ("a", "b")}})
    check_sameness(foreign, {}, ("a", "b"), "x.pth")
    with pytest.raises(SuiteError, match=r"x.pth: was trained for other classes \(a, b\) .* \(a, c\)"):
        check_sameness(foreign, {}, ("a", "c"), "x.pth")
    assert Foreign({}, {"CLASSES": ("a",)}).classes == ("a",)


def test_a_checkpoint_that_does_not_fit_names_the_parameters(tmp_path: Path) -> None:
    own = ours("atss")
    state = build(own["model"]).state_dict()
    wrong = {name: value for name, value in state.items() if "atss_cls" not in name}
    wrong |= {"neck.fpn_convs.3.conv.weight": torch.ones(1), "bbox_head.retina_cls.weight": torch.ones(1)}
    with pytest.raises(SuiteError) as caught:
        fitted(Foreign(wrong, {}), own, "x.pth")
    for part in (
        "x.pth: does not fit the model",
        "lacks: bbox_head.atss_cls.weight, bbox_head.atss_cls.bias",
        "of another shape: neck.fpn_convs.3.conv.weight is (1,), expected (32, 32, 3, 3)",
        "left over: bbox_head.retina_cls.weight",
    ):
        assert part in caught.value.message
    no_counters = {name: value for name, value in state.items() if "num_batches" not in name}
    assert fitted(Foreign(no_counters, {}), own, "x.pth").keys() == no_counters.keys()


def test_training_checkpoints_of_mmengine_are_read_and_nothing_is_executed(tmp_path: Path) -> None:
    hub = MessageHub.get_instance("test_adopted")
    hub.update_scalar("train/loss", np.float32(0.5))
    path = tmp_path / "epoch_1.pth"
    content = {
        "meta": {"mmdet_version": "3.3.0"},
        "message_hub": hub.state_dict(),
        "optimizer": {"state": {}},
    }
    torch.save({**content, "state_dict": {"module.a": torch.ones(1)}}, path)
    assert list(read_foreign(path).state) == ["a"]
    assert read_foreign(path).mmdet == "3.3.0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}, "meta": {"mmdet_version": "1.2.0"}}, "trained with mmdet 1.2.0, whose order"),
        ({"state_dict": {"a": 1}}, "not a checkpoint"),
        ([1], "not a checkpoint"),
        ({"state_dict": {}, "meta": {"config": Path("/")}}, r"cannot be read as weights alone \(it holds"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(SuiteError, match=f"x.pth: {message}"):
        read_foreign(tmp_path / "x.pth")
    with pytest.raises(SuiteError, match=r"y.pth: no such file"):
        read_foreign(tmp_path / "y.pth")
