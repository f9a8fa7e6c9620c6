"""The papers' own methods, built at the smallest preset, with a batch of the generated rectangles."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from training_runs import CLASSES

import suite.detectors
import suite.inference
import suite.training  # noqa: F401
from suite.data.dataset import Dataset, Split
from suite.runs.resolve import resolve
from suite.runs.spec import RunSpec
from suite.training import FastModel
from suite.training.initialization import initialize_by_name

CORE = ("retinanet", "free_anchor", "ltm", "ltm_af", "paa", "atss")


def small_config(method: str, root: Path) -> dict[str, Any]:
    """A method's config at preset ``smoke``, on the rectangles below ``root``."""
    train, val = (Split(root / f"{name}.json", root / name, 1, 1, "0") for name in ("train", "val"))
    described = Dataset("rectangles", "shapes", root, train, val, CLASSES)
    config = resolve(RunSpec(method, "smoke", 0), described)
    config["custom_hooks"] = [{"type": "RunLogHook", "interval": 2}]
    return config


def first_batch(config: dict[str, Any]) -> Any:
    """The batch of the first step, decoded by this process."""
    use_mmdet()
    loader = {**config["train_dataloader"], "num_workers": 0, "persistent_workers": False}
    loader.pop("prefetch_factor", None)
    return next(iter(Runner.build_dataloader(ConfigDict(loader), seed=0)))


def built(config: dict[str, Any], device: str = "cpu") -> Any:
    """The detector of a config with its initial weights, as a training has it, in training mode."""
    from mmdet.registry import MODELS

    use_mmdet()
    model = MODELS.build(ConfigDict(config["model"])).to(device)
    fast = None
    if "fast" in config:
        fast = FastModel(**{key: value for key, value in config["fast"].items() if key != "type"})
        fast.prepare(model)
    initialize_by_name(model, 0, model.init_weights)
    if fast is not None:
        fast.lay_out(model)
    return model.train()


def losses_of(model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The total and all terms of a batch."""
    data = model.data_preprocessor(batch, True)
    total, terms = model.parse_losses(model(**data, mode="loss"))
    return total, terms


def use_mmdet() -> None:
    """Let mmengine's registries look for names in mmdet."""
    if not DefaultScope.check_instance_created("test"):
        DefaultScope.get_instance("test", scope_name="mmdet")
