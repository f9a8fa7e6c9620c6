"""Looking at a detector in the middle of its training without leaving a trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import is_model_wrapper
from torch import nn

from suite.training.seeding import derived_seed, temporary_seed


def unwrapped(model: nn.Module) -> nn.Module:
    """The detector itself, without the wrapper of a distributed training."""
    inner: nn.Module = model.module if is_model_wrapper(model) else model  # type: ignore[assignment]
    return inner


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; then every module is as it was.

    The flags are set directly: ``train()`` of a backbone with frozen stages does more than that.
    """
    flags = [(module, module.training) for module in model.modules()]
    for module, _ in flags:
        module.training = False
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def random_numbers_of_its_own(purpose: str, seed: int) -> Iterator[None]:
    """Generators that depend on purpose and seed for the block; then all are where they were."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    own = derived_seed(purpose, seed)
    with torch.random.fork_rng(devices), temporary_seed(own):
        if devices:
            torch.cuda.manual_seed(own)
        yield
