"""Whether pretrained weights fit the layers that are to start from them.

mmengine loads what fits and logs the rest as a warning. A backbone half of whose layers stay random would so
train for days; here it ends before the first step.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from torch import Tensor, nn

from suite.errors import SuiteError
from suite.text import listed

_MADE_ANEW = re.compile(r"(^|\.)conv_offset\.|num_batches_tracked$")
"""Parameters that no pretrained backbone has: offsets of deformable convolutions, counters of batches."""


def check_pretrained(model: nn.Module) -> None:
    """Check every layer of a model whose ``init_cfg`` names a file of pretrained weights.

    Each parameter of the layer has to be in the file with its shape. Left over may be what the layer has no
    part for: a classifier, stages that it does not have, biases that it leaves out; not blocks of its stages.

    Raises:
        SuiteError: A file cannot be read as weights alone, or does not fit; the message names the parameters.
    """
    for module in model.modules():
        init = module.init_cfg if isinstance(module, BaseModule) else None
        if isinstance(init, dict) and init.get("type") == "Pretrained" and Path(init["checkpoint"]).is_file():
            check_fit(module, Path(init["checkpoint"]), init.get("prefix"))


def check_fit(module: nn.Module, path: Path, prefix: str | None = None) -> None:
    """Check that a file's weights fit one layer.

    Args:
        module: The layer.
        path: The file.
        prefix: Of the names in the file that are meant, as mmengine's ``PretrainedInit`` has it.

    Raises:
        SuiteError: As :func:`check_pretrained`.
    """
    found = read_weights(path)
    if prefix is not None:
        start = prefix.rstrip(".") + "."
        found = {name.removeprefix(start): value for name, value in found.items() if name.startswith(start)}
    own = module.state_dict()
    needed = {name for name in own if not _MADE_ANEW.search(name)}
    missing = [name for name in own if name in needed and name not in found]
    misfits = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    children = {name for name, _ in module.named_children()}
    modules = {name for name, _ in module.named_modules()}
    left = [
        name
        for name in found
        if name.partition(".")[0] in children and name.rpartition(".")[0] not in modules
    ]
    problems = [
        f"{what}: {listed(names)}"
        for what, names in (("lacking", missing), ("of another shape", misfits), ("left over", left))
        if names
    ]
    if problems:
        none = "no parameter fits; " if needed <= set(missing) else ""
        raise SuiteError(
            f"{path}: weights that do not fit {type(module).__name__} ({none}{'; '.join(problems)}).",
            "Name weights of the same backbone in init_cfg: same depth, groups and widths.",
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The parameters in a file of weights, without executing anything that may be in it.

    Raises:
        SuiteError: The file is damaged, or holds more than weights, or none.
    """
    content = load_plain(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        raise SuiteError(f"{path}: holds no weights.", "Expected a state_dict: names and tensors.")
    return {
        str(name).removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)
    }


def load_plain(path: Path) -> Any:
    """What a checkpoint holds, without executing anything that may be in it.

    Read are tensors, arrays, plain values, and the logs that mmengine keeps beside the weights.

    Raises:
        SuiteError: The file is missing or damaged, or holds something else.
    """
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise SuiteError(f"{path}: no such file.") from error
    except Exception as error:  # as many as pickle and zip have
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it holds {named[1]}" if named else "it is damaged"
        raise SuiteError(
            f"{path}: cannot be read as weights alone ({what}); nothing in it was executed.",
            "Get the file again. If you trust it, keep its weights alone: "
            "torch.save({'state_dict': ..., 'meta': ...}, path).",
        ) from error


def _statistic(owner: Any, name: str) -> Any:
    """In place of getattr, by which mmengine's logs name their statistics."""
    if owner is not HistoryBuffer or name not in ("mean", "max", "min", "current"):
        raise pickle.UnpicklingError(f"GLOBAL builtins.getattr of {owner}")
    return getattr(owner, name)


_NUMPY: Any = np._core if hasattr(np, "_core") else np.core  # type: ignore[attr-defined, unused-ignore]
_HARMLESS: list[Any] = [
    HistoryBuffer, np.ndarray, np.dtype, (_statistic, "builtins.getattr"),
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u4", "u8")),
    *(
        (getattr(_NUMPY.multiarray, name), f"numpy.{core}.multiarray.{name}")
        for name in ("_reconstruct", "scalar")
        for core in ("core", "_core")
    ),
]  # fmt: skip
"""What training checkpoints hold besides tensors and plain values."""
