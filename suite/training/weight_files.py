"""Files of pretrained weights that the suite makes: converted from Detectron, or random for a rehearsal."""

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from torch import Tensor

from suite.errors import SuiteError
from suite.files import sha256
from suite.runs.weights import RANDOM, Weights, WeightStore, weights_named
from suite.text import listed

_LAYER_NAMES = {"branch1": "downsample", "branch2a": "1", "branch2b": "2", "branch2c": "3"}
_EPSILON = 1e-5
"""What mmdet's batch norms add to the variance."""


def parameter_shapes(weights: Weights) -> dict[str, torch.Size]:
    """Names and shapes of what a file of these weights holds, without counters of batches."""
    register_all_modules(init_default_scope=False)
    with torch.device("meta"):
        model = MODELS.build({**weights.backbone, "init_cfg": None})
    shapes = {
        name: value.shape
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    return shapes | {name: torch.Size(shape) for name, shape in weights.extra.items()}


def write_random_weights(folder: Path, names: Iterable[str]) -> list[Path]:
    """Write files that look like pretrained weights and hold random numbers, for a rehearsal.

    Names and shapes are the true files', so that a training goes through its real initialisation. Each file
    says inside that it is random: only a ``WeightStore(folder, random=True)`` takes it.

    Args:
        folder: Where they go; a file of random numbers that is there already stays.
        names: Names of weights, see :func:`suite.runs.weights.known_weights`.

    Returns:
        The files.

    Raises:
        SuiteError: A name is unknown, or another file, which may be a true one, has the name of one to write.
    """
    store = WeightStore(folder, random=True)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in dict.fromkeys(names):
        path = store.path(name)
        if path.exists() and not store.problem(name):
            paths.append(path)
            continue
        if path.exists():
            raise SuiteError(f"{path}: there is a file already.", "Give another folder for random weights.")
        generator = torch.Generator().manual_seed(0)
        state = {
            key: _random(key, shape, generator)
            for key, shape in parameter_shapes(weights_named(name)).items()
        }
        _save({"meta": {"about": RANDOM}, "state_dict": state}, path)
        paths.append(path)
    return paths


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Numbers of a size with which a network's activations neither grow nor vanish."""
    if len(shape) > 1:
        return torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5
    ones = name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight"))
    noise = 0.05 * torch.randn(shape, generator=generator)
    return 1 + noise.abs() if ones else noise


def convert_detectron(source: Path, store: WeightStore, name: str) -> Path:
    """Convert a Detectron ``.pkl`` of a ResNet or ResNeXt to mmdet's names, and put it into the folder.

    Detectron's batch norms are scale and shift: they become batch norms of mean 0 and of variance
    1 - epsilon, which mmdet computes with an epsilon of 1e-5. What checks the result: every parameter of the
    backbone has to be there with its shape, and none may be left over but the classifier's.

    Args:
        source: The downloaded file.
        store: Whose folder receives the converted file.
        name: The weights' name.

    Raises:
        SuiteError: It is no such file, or does not fit the backbone; the message names the parameters.
    """
    expected = parameter_shapes(weights_named(name))
    converted = _converted(_read_detectron(source))
    fault = _fault({key: value.shape for key, value in converted.items()}, expected)
    if fault:
        raise SuiteError(f"{source}: not the weights {name} ({fault}).", f"Download {name} again.")
    path = store.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save({"meta": {"source": source.name, "sha256": sha256(source)}, "state_dict": converted}, path)
    return path


def _fault(found: dict[str, torch.Size], expected: dict[str, torch.Size]) -> str:
    missing, left = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = sorted(key for key in expected.keys() & found.keys() if expected[key] != found[key])
    parts = [
        f"{what}: {listed(names)}"
        for what, names in (("missing", missing), ("left over", left), ("of another shape", other))
        if names
    ]
    return "; ".join(parts)


def _converted(blobs: dict[str, Any]) -> dict[str, Tensor]:
    """Detectron's blobs under mmdet's names; its classifier and the momenta of its training are left out."""
    state: dict[str, Tensor] = {}
    for blob, value in blobs.items():
        if blob.endswith("_momentum") or not blob.startswith(("conv1_", "res")):
            continue
        layer, _, kind = blob.rpartition("_")
        if kind in ("s", "b") and layer.endswith("_bn"):
            norm = _norm_name(layer.removesuffix("_bn"))
            state[f"{norm}.{'weight' if kind == 's' else 'bias'}"] = torch.from_numpy(np.array(value))
            state[f"{norm}.running_mean"] = torch.zeros(len(value))
            state[f"{norm}.running_var"] = torch.full((len(value),), 1 - _EPSILON)
        elif kind == "w":
            state[f"{_conv_name(layer)}.weight"] = torch.from_numpy(np.array(value))
    return state


def _conv_name(layer: str) -> str:
    """``res2_0_branch2a`` -> ``layer1.0.conv1``."""
    if layer == "conv1":
        return layer
    block, branch = _block(layer)
    return f"{block}.downsample.0" if branch == "downsample" else f"{block}.conv{branch}"


def _norm_name(layer: str) -> str:
    """``res2_0_branch2a`` -> ``layer1.0.bn1``; the first layer's is ``res_conv1``."""
    if layer == "res_conv1":
        return "bn1"
    block, branch = _block(layer)
    return f"{block}.downsample.1" if branch == "downsample" else f"{block}.bn{branch}"


def _block(layer: str) -> tuple[str, str]:
    try:
        stage, block, branch = layer.split("_")
        return f"layer{int(stage.removeprefix('res')) - 1}.{int(block)}", _LAYER_NAMES[branch]
    except (ValueError, KeyError):
        return layer, "?"  # is reported as left over


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays, texts, numbers and containers: a pickle of somebody else's may else run anything."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar"),
            ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
            ("collections", "OrderedDict"),
        }
    )  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, not only arrays")
        return super().find_class(module, name)


def _read_detectron(source: Path) -> dict[str, Any]:
    try:
        with source.open("rb") as stream:
            content = _ArraysOnly(stream, encoding="latin1").load()
    except Exception as error:  # a damaged pickle fails in any way
        raise SuiteError(f"{source}: not a Detectron file ({error}).", "Download it again.") from error
    blobs = content.get("blobs", content) if isinstance(content, dict) else None
    if not isinstance(blobs, dict):
        raise SuiteError(f"{source}: not a Detectron file (no blobs).", "Download it again.")
    return {str(name): value for name, value in blobs.items() if isinstance(value, np.ndarray)}


def _save(content: dict[str, Any], path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    torch.save(content, part)
    part.replace(path)
