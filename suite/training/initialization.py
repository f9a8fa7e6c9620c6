"""Initial weights that depend on the seed and the parameter's name, and on nothing else in the model.

Two detectors with the same seed start from the same weights in every layer that they share by name, shape and
distribution: backbone, neck, stacked convolutions, usually the box branch. Otherwise one more layer anywhere
would shift all later draws, and a comparison "with the same seed" would compare two unrelated starting
points.
"""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from suite.errors import SuiteError
from suite.training.seeding import derived_seed

_DRAWS = frozenset(
    {
        "normal_", "uniform_", "bernoulli_", "random_", "exponential_", "log_normal_", "cauchy_",
        "geometric_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_",
    }
)  # fmt: skip
"""Functions of torch.Tensor and torch.nn.init that fill a tensor with random numbers in one draw."""


class NamedInitialization(TorchFunctionMode):
    """While active, every in-place draw into a parameter comes from a generator seeded by (seed, its name).

    Draws are made on the CPU even for a model on a GPU, so that both start from the same weights.

    Args:
        model: The model; parameters and buffers are known by their names in it.
        seed: Seed of the run.

    Raises:
        SuiteError: On leaving, if random numbers were drawn for something that is no parameter by name.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        super().__init__()
        self.seed = seed
        tensors = [*model.named_parameters(), *model.named_buffers()]
        # By storage, because initialisers work on `.data` and on slices, which are other tensor objects.
        self.names = {tensor.untyped_storage().data_ptr(): name for name, tensor in tensors if tensor.numel()}

    def __enter__(self) -> "NamedInitialization":
        self.untouched = torch.get_rng_state()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        drawn_elsewhere = not torch.equal(torch.get_rng_state(), self.untouched)
        torch.set_rng_state(self.untouched)
        if drawn_elsewhere and exception[0] is None:
            raise SuiteError(
                "init_weights: draws random numbers other than in place into a parameter (as in "
                "param.copy_(torch.randn(...))); the weights would depend on what was drawn before.",
                "Use normal_, uniform_, Kaiming, Xavier or mmengine's trunc_normal_ on the parameter.",
            )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # torch.nn.init hands its tensor over by keyword, tensor methods by position.
        target = args[0] if args else kwargs.get("tensor")
        if getattr(func, "__name__", "") not in _DRAWS or not isinstance(target, Tensor):
            return func(*args, **kwargs)
        name = self.names.get(target.untyped_storage().data_ptr())
        if name is None:
            return func(*args, **kwargs)
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(derived_seed("weights", self.seed, name, target.storage_offset()))
        values = target.detach().cpu()  # the same memory, for a parameter on the CPU
        if args:
            func(values, *args[1:], **kwargs)
        else:
            func(**{**kwargs, "tensor": values})
        torch.set_rng_state(state)
        with torch.no_grad():
            return target.copy_(values)


def initialize_by_name(model: nn.Module, seed: int, init_weights: Callable[[], None]) -> None:
    """Give ``model`` its initial weights, drawn by (seed, parameter name).

    Layers that ``init_weights`` leaves as their constructor made them are first made anew, children before
    parents: PyTorch's ``reset_parameters``, then the initialisation that mmcv's modules run in their
    constructors.

    Args:
        model: The whole detector, unwrapped.
        seed: Seed of the run.
        init_weights: Runs the model's own initialisation (``init_cfg``, pretrained weights).
    """
    with NamedInitialization(model, seed):
        for module in reversed(list(model.modules())):
            reset: Any = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
            constructor_init: Any = getattr(module, "init_weights", None)
            if constructor_init is not None and not isinstance(module, BaseModule):
                constructor_init()
        init_weights()
