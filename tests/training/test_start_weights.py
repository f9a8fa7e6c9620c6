"""Pretrained weights: random ones load as true ones do, Detectron's are converted, misfits refused."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn

from suite.errors import SuiteError
from suite.runs import weights as table
from suite.runs.configs import CONFIGS
from suite.runs.resolve import compose
from suite.runs.spec import RunSpec
from suite.runs.weights import RANDOM, Weights, WeightStore, known_weights, start_weights
from suite.training.initialization import initialize_by_name
from suite.training.pretrained import check_fit, check_pretrained, read_weights
from suite.training.weight_files import convert_detectron, parameter_shapes, write_random_weights

R50 = "torchvision://resnet50"
SMALL = "test://resnet18"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that goes at once: the files are large."""
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, folder: Path) -> WeightStore:
    """A folder where weights of a small ResNeXt with bottlenecks are known, as Detectron's."""
    backbone = {"type": "ResNeXt", "depth": 50, "groups": 2, "base_width": 2, "base_channels": 4}
    backbone |= {
        "num_stages": 2,
        "strides": (1, 2),
        "dilations": (1, 1),
        "out_indices": (1,),
        "stem_channels": 8,
    }
    entry = Weights(SMALL, "small.pth", ["http://a/small.pkl"], 1, backbone, convert="detectron")
    monkeypatch.setattr(table, "known_weights", lambda: {SMALL: entry})
    return WeightStore(folder)


def backbone_of(weights: Weights, path: Path) -> Any:
    register_all_modules(init_default_scope=False)
    init = {"type": "Pretrained", "checkpoint": str(path)}
    return MODELS.build({**weights.backbone, "init_cfg": init})


def initialised(model: Any) -> Any:
    check_pretrained(model)
    initialize_by_name(model, 0, model.init_weights)
    return model


def assert_loaded(module: nn.Module, path: Path) -> None:
    """Every parameter of the module that has a name in the file has its numbers."""
    given, own = read_weights(path), module.state_dict()
    shared = [name for name in own if name in given]
    assert len(shared) >= 50
    assert all(torch.equal(own[name], given[name]) for name in shared)


def test_random_weights_load_as_the_true_ones_do(folder: Path) -> None:
    (path,) = write_random_weights(folder, [R50])
    given = read_weights(path)
    assert len(given) == 267  # as torchvision's file has, of which two are the classifier's
    assert given["fc.weight"].shape == (1000, 2048)
    assert "random numbers" in WeightStore(folder).problem(R50)
    assert WeightStore(folder, random=True).problem(R50) == ""
    assert write_random_weights(folder, [R50]) == [path]
    assert_loaded(initialised(backbone_of(known_weights()[R50], path)), path)
    with torch.device("meta"):
        deeper = backbone_of(known_weights()["torchvision://resnet101"], path)
    with pytest.raises(SuiteError, match=r"ResNet \(lacking: layer3.6.conv1.weight, .* and 251 more"):
        check_pretrained(deeper)


def test_another_file_is_not_overwritten_by_random_numbers(folder: Path) -> None:
    WeightStore(folder).path(R50).write_bytes(b"not random")
    with pytest.raises(SuiteError, match=r"resnet50-0676ba61.pth: there is a file already"):
        write_random_weights(folder, [R50])


def paper_backbones() -> list[dict[str, Any]]:
    """One spec of the paper preset for each recipe of a backbone, and for each start of its own."""
    recipes = [path.stem for path in (CONFIGS / "recipes" / "backbone").glob("*.py")]
    specs = [RunSpec("paa", "paper", 0, {"backbone": name}) for name in sorted(recipes)]
    return [compose(spec) for spec in (*specs, RunSpec("tridentnet", "paper", 0))]


@pytest.mark.slow
@pytest.mark.parametrize("config", paper_backbones(), ids=lambda config: str(start_weights(config)))
def test_every_backbone_of_the_papers_preset_initialises(config: dict[str, Any], folder: Path) -> None:
    paths = write_random_weights(folder, start_weights(config))
    register_all_modules(init_default_scope=False)
    import_modules_from_strings(**config["custom_imports"])
    local = WeightStore(folder, random=True).localised(config)
    assert str(paths[0]) in str(local["model"])
    detector = initialised(MODELS.build(ConfigDict(local["model"], _scope_="mmdet")))
    assert_loaded(detector.backbone, paths[0])
    if config["model"].get("roi_head"):
        assert_loaded(detector.roi_head.shared_head, paths[0])


def detectron_blobs(weights: Weights) -> dict[str, np.ndarray]:
    """What Detectron's file of these weights would hold: its names, with random numbers."""
    rng, blobs = np.random.default_rng(0), {}
    for name, shape in parameter_shapes(weights).items():
        if name.endswith(("running_mean", "running_var")):
            continue
        layer, kind = name.rsplit(".", 1)
        layer = {"conv1": "conv1", "bn1": "res_conv1_bn"}.get(layer) or re.sub(
            r"layer(\d)\.(\d+)\.(.*)", lambda found: _detectron_layer(*found.groups()), layer
        )
        ending = kind[0] if not layer.endswith("_bn") else {"weight": "s", "bias": "b"}[kind]
        blobs[f"{layer}_{ending}"] = rng.normal(size=shape).astype(np.float32)
    return blobs


def _detectron_layer(stage: str, block: str, rest: str) -> str:
    branch = {"conv1": "2a", "conv2": "2b", "conv3": "2c", "downsample.0": "1"}
    norms = {"bn1": "2a_bn", "bn2": "2b_bn", "bn3": "2c_bn", "downsample.1": "1_bn"}
    return f"res{int(stage) + 1}_{block}_branch{(branch | norms)[rest]}"


def written(blobs: dict[str, Any], path: Path) -> Path:
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    return path


def test_detectrons_weights_are_converted_exactly(small: WeightStore) -> None:
    entry = table.known_weights()[SMALL]
    blobs = detectron_blobs(entry)
    extras = {
        "pred_w": np.ones((10, 32)),
        "lr": np.float64(0.1),
        "conv1_b": np.ones(8),
        "conv1_w_momentum": 0,
    }
    source = written({**blobs, **extras}, small.folder / "small.pkl")
    path = convert_detectron(source, small, SMALL)
    backbone = initialised(backbone_of(entry, path))
    backbone.eval()
    assert backbone.layer2[0].conv2.weight.shape[1] == blobs["res3_0_branch2b_w"].shape[1]
    images = torch.randn(2, 3, 32, 32)
    expected = affine_network(images, blobs)
    assert (backbone(images)[0] - expected).abs().max() < 1e-5 * expected.abs().max()


def affine_network(images: Tensor, blobs: dict[str, np.ndarray]) -> Tensor:
    """The network that Detectron computes: convolutions, scale and shift. Two stages, groups of 2."""
    w = {name: torch.from_numpy(value) for name, value in blobs.items()}

    def layer(x: Tensor, name: str, stride: int = 1, groups: int = 1, norm: str | None = None) -> Tensor:
        kernel = w[f"{name}_w"]
        x = nn.functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        norm = norm or f"{name}_bn"
        return x * w[f"{norm}_s"].view(1, -1, 1, 1) + w[f"{norm}_b"].view(1, -1, 1, 1)

    x = layer(images, "conv1", stride=2, norm="res_conv1_bn").relu()
    x = nn.functional.max_pool2d(x, 3, 2, 1)
    for stage, blocks in ((2, 3), (3, 4)):
        for block in range(blocks):
            name, stride = f"res{stage}_{block}_branch", 2 if stage == 3 and block == 0 else 1
            y = layer(x, f"{name}2a").relu()
            y = layer(y, f"{name}2b", stride, groups=2).relu()
            y = layer(y, f"{name}2c")
            x = (y + (layer(x, f"{name}1", stride) if block == 0 else x)).relu()
    return x


def test_a_detectron_file_that_does_not_fit_is_refused_with_names(small: WeightStore) -> None:
    blobs = detectron_blobs(table.known_weights()[SMALL])
    del blobs["res2_1_branch2a_w"]
    blobs |= {"res2_9_branch2a_w": np.ones((1, 1, 1, 1)), "conv1_w": np.ones((8, 3, 3, 3))}
    with pytest.raises(SuiteError) as caught:
        convert_detectron(written(blobs, small.folder / "a.pkl"), small, SMALL)
    for part in (
        "missing: layer1.1.conv1.weight",
        "left over: layer1.9.conv1.weight",
        "of another shape: conv1",
    ):
        assert part in caught.value.message
    assert not small.path(SMALL).exists()


class Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


@pytest.mark.parametrize("content", [{"blobs": {"conv1_w": Evil()}}, {"blobs": 1}, [1], Evil()])
def test_a_pickle_that_is_more_than_arrays_is_not_executed(
    content: Any, small: WeightStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small.folder / "evil.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(SuiteError, match="not a Detectron file"):
        convert_detectron(path, small, SMALL)
    assert "executed" not in capsys.readouterr().out


def tiny() -> Any:
    return backbone_of(table.known_weights()[SMALL], Path("unused"))


def saved(state: Any, folder: Path) -> Path:
    torch.save(state, folder / "state.pth")
    return folder / "state.pth"


def test_weights_that_do_not_fit_are_refused_with_their_names(small: WeightStore) -> None:
    model = tiny()
    good = {
        **model.state_dict(),
        "fc.weight": torch.ones(2, 2),
        "conv1.bias": torch.ones(8),
        "layer4.x.y": torch.ones(1),
    }
    check_fit(model, saved(good, small.folder))
    prefixed = {f"module.net.{name}": value for name, value in good.items()}
    check_fit(model, saved({"state_dict": prefixed}, small.folder), prefix="net.")
    deeper = {**good, "layer1.7.conv1.weight": torch.ones(1)}
    with pytest.raises(SuiteError, match=r"do not fit ResNeXt \(left over: layer1.7.conv1.weight\)"):
        check_fit(model, saved(deeper, small.folder))
    other = {**good, "conv1.weight": torch.ones(8, 3, 3, 3)}
    with pytest.raises(SuiteError, match=r"conv1.weight is \(8, 3, 3, 3\), expected \(8, 3, 7, 7\)"):
        check_fit(model, saved(other, small.folder))
    with pytest.raises(SuiteError, match=r"no parameter fits; lacking: conv1.weight, bn1.weight"):
        check_fit(model, saved({"a": torch.ones(1)}, small.folder))


@pytest.mark.parametrize("content", [b"<html>404</html>", b""])
def test_files_that_are_no_weights_are_named(content: bytes, folder: Path) -> None:
    path = folder / "x.pth"
    path.write_bytes(content)
    with pytest.raises(SuiteError, match=r"x.pth: cannot be read as weights alone"):
        read_weights(path)
    with pytest.raises(SuiteError, match=r"state.pth: cannot be read as weights alone"):
        read_weights(saved({"a": Evil()}, folder))
    with pytest.raises(SuiteError, match=r"state.pth: holds no weights"):
        read_weights(saved({"meta": {"about": RANDOM}}, folder))
