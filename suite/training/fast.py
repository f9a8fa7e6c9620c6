"""The network in bfloat16, channels last and compiled; what is computed from its maps stays in float32."""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor, nn


@TASK_UTILS.register_module()
class FastModel:
    """What FAST=1 changes of a detector; see :func:`suite.runs.fast.make_fast`.

    While it trains, its backbone, neck and heads compute under autocast, and give float32 maps to whatever
    comes after: assigners, losses, proposals. Operators of mmcv, such as deformable convolutions, compute in
    float32. While it is evaluated nothing is cast.

    Args:
        dtype: ``bfloat16``, or ``float32`` for no autocast.
        channels_last: Lay out weights, and so maps, with channels last.
        compile: Compile backbone and neck, unless they have operators of mmcv.
    """

    def __init__(self, dtype: str = "bfloat16", channels_last: bool = True, compile: bool = True) -> None:
        self.dtype = getattr(torch, dtype)
        self.channels_last = channels_last
        self.compile = compile

    def prepare(self, model: nn.Module) -> None:
        """Change what a detector's parts compute in, in place; parameters keep their names and values."""
        for module in model.modules():
            if _is_operator(module):
                module.__class__ = _operator_class(type(module))  # type: ignore[arg-type]
        for name, module in _networks(model):
            compiled = self.compile and name in ("backbone", "neck")
            compiled = compiled and not any(map(_is_operator, module.modules()))
            keeps = name == "backbone"  # the neck takes its maps as they are
            kind: Any = type(module)
            module.__class__ = _network_class(kind, self.dtype, compiled, keeps)

    def lay_out(self, model: nn.Module) -> None:
        """Lay out a detector's weights, in place, once they are drawn: PyTorch's layers draw into others."""
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _networks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a detector that are layers only, by the names that mmdet gives them."""
    for name in ("backbone", "neck", "rpn_head", "bbox_head"):
        part = getattr(model, name, None)
        if part is not None:
            yield name, part
    heads = getattr(getattr(model, "roi_head", None), "bbox_head", None)
    for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
        if head is not None:
            yield "bbox_head", head


def _is_operator(module: nn.Module) -> bool:
    return type(module).__module__.startswith("mmcv.ops")


# A class, not a method of the one object: copies of the model, such as an average of its weights, have their
# own forward.
@functools.cache
def _network_class(base: type[nn.Module], dtype: torch.dtype, compiled: bool, keeps: bool) -> type[nn.Module]:
    """A kind of module that trains under autocast; it gives float32 unless it ``keeps`` the type."""
    plain = base.forward
    quick = torch.compile(plain, dynamic=True) if compiled else plain

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not self.training:
            return plain(self, *args, **kwargs)
        with torch.autocast(_device(args), dtype, enabled=dtype != torch.float32):
            found = quick(self, *args, **kwargs)
        return found if keeps else _in_float32(found)

    return type(base.__name__, (base,), {"forward": forward, "__module__": base.__module__})


@functools.cache
def _operator_class(base: type[nn.Module]) -> type[nn.Module]:
    """A kind of module that computes in float32 whatever it is given."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(_device(args), enabled=False):
            return base.forward(self, *_in_float32(args), **_in_float32(kwargs))

    return type(base.__name__, (base,), {"forward": forward, "__module__": base.__module__})


def _device(value: Any) -> str:
    """Kind of device of the first tensor in a value."""
    while not isinstance(value, Tensor):
        value = value[0]
    return value.device.type


def _in_float32(value: Any) -> Any:
    """The value with its floating-point tensors in float32."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _in_float32(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_in_float32, value))
    return value
