"""FAST=1: a resolved config changed so that a GPU trains it sooner, to numbers equal within noise only.

Nothing here is on by default: the papers' numbers are trained for exactly. All of it stands in the config,
and so in the run's identity: a fast run is another run than the exact one.
"""

from typing import Any

_WORKERS = 4
"""Processes that decode for each GPU: at least; ``benchmarks/gpu.py`` says what one of them decodes."""


def make_fast(config: dict[str, Any]) -> None:
    """Change a resolved config, in place, to train fast.

    - Backbone, neck and heads compute in bfloat16; targets, losses, inference and evaluation stay in float32.
    - Weights and maps are laid out with channels last, as tensor cores read them.
    - Backbone and neck are compiled (``torch.compile``).
    - The optimizer's step is one kernel for all parameters.
    - More processes decode images, ahead of time.

    Args:
        config: A config of :func:`suite.runs.resolve.resolve`, before it is identified.
    """
    config["fast"] = {"type": "FastModel", "dtype": "bfloat16", "channels_last": True, "compile": True}
    config["optim_wrapper"]["optimizer"]["fused"] = True
    loader = config["train_dataloader"]
    loader["num_workers"] = max(_WORKERS, loader.get("num_workers", 0))
    loader.update(persistent_workers=True, prefetch_factor=4)
