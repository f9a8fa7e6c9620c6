"""mmengine's Runner with paired initial weights, and without files or output of its own."""

import itertools
import os
import random
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS, TASK_UTILS
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPERS, RUNNERS
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn

from suite.errors import SuiteError
from suite.training.initialization import initialize_by_name
from suite.training.pretrained import check_pretrained
from suite.training.seeding import derived_seed

# What a run keeps is written by RunLogHook, LatestCheckpointHook and DetectionDump.
_REPLACED_HOOKS = {
    "LoggerHook", "IterTimerHook", "DetVisualizationHook", "CheckpointHook", "RuntimeInfoHook",
}  # fmt: skip
_runners = itertools.count()


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds all generators by (seed, epoch, process) before an epoch's first step.

    What a training step draws at random is then the same in a training that was interrupted and resumed at an
    epoch.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed, after the loader has drawn what it needs to start."""
        if batch_idx == 0:
            seed = derived_seed("training", runner.seed, runner.epoch, runner.rank)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)


@OPTIM_WRAPPERS.register_module()
class AsynchronousOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper without the norm of the gradients in a log: it would wait for the GPU."""

    def _clip_grad(self) -> None:
        groups = self.optimizer.param_groups
        parameters = [one for group in groups for one in group["params"] if one.grad is not None]
        if parameters:
            self.clip_func(parameters, **self.clip_grad_kwargs)


@RUNNERS.register_module()
class SuiteRunner(Runner):
    """mmengine's Runner as the suite uses it.

    - Initial weights depend on the seed and the parameters' names (:mod:`suite.training.initialization`).
    - Random numbers drawn while training depend on the seed and the epoch (:class:`EpochSeedHook`).
    - mmengine's own logging, visualisation and checkpoints are left out; it prints warnings
      only. So no step waits for the GPU.
    - What the config has as ``fast`` (:mod:`suite.runs.fast`) is applied to the model.
    """

    def train(self) -> nn.Module:
        """Train; an error that follows from a loss that was not finite is reported as that."""
        try:
            model: nn.Module = super().train()
            return model
        except SuiteError:
            raise
        except Exception:
            self.call_hook("check_divergence")
            raise

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """The config's model, made fast where the config says so."""
        built: nn.Module = super().build_model(model)
        self.fast = TASK_UTILS.build(self.cfg.fast) if "fast" in self.cfg else None
        if self.fast is not None:
            self.fast.prepare(built)
        return built

    def build_optim_wrapper(
        self, optim_wrapper: OptimWrapper | dict[str, Any]
    ) -> OptimWrapper | OptimWrapperDict:
        """The config's optimizer, with :class:`AsynchronousOptimWrapper` for mmengine's plain wrapper."""
        if isinstance(optim_wrapper, dict) and optim_wrapper.get("type", "OptimWrapper") == "OptimWrapper":
            optim_wrapper = {**optim_wrapper, "type": "AsynchronousOptimWrapper"}
        return super().build_optim_wrapper(optim_wrapper)

    @property
    def timestamp(self) -> str:
        """Empty: mmengine names a sub-folder for its log files by it, and there are none."""
        return ""

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Set up processes and threads, and a name that no other runner of this process has.

        mmengine keeps state by name (message hub, logger) for as long as the process lives.
        """
        super().setup_env(env_cfg)
        self._timestamp = f"{os.getpid()}_{next(_runners)}"

    def build_logger(
        self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """A logger of warnings, without a file: what the process prints is kept by who started it."""
        logger = MMLogger.get_instance(name=self._experiment_name, log_level="WARNING")
        # mmengine warns about calls of its own, which no user can change.
        logger.addFilter(lambda record: "will be deprecated" not in record.getMessage())
        return logger

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """A visualiser that draws and stores nothing; mmengine's loops expect one."""
        return Visualizer.get_instance(name=self._experiment_name)

    def register_hooks(
        self, default_hooks: dict[str, Any] | None = None, custom_hooks: list[Any] | None = None
    ) -> None:
        """Register the config's hooks, without those that the suite replaces, and EpochSeedHook."""
        hooks = {
            "logger": None,
            "timer": None,
            "runtime_info": {"type": "ProgressHook"},
            "checkpoint": {"type": "LatestCheckpointHook"},
        }
        for name, hook in (default_hooks or {}).items():
            if not (isinstance(hook, dict) and hook.get("type") in _REPLACED_HOOKS):
                hooks[name] = hook
        super().register_hooks(hooks, custom_hooks)
        self.register_hook({"type": "EpochSeedHook"})

    def dump_config(self) -> None:
        """Write nothing: the run's config.py is there already, and must not change."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Print nothing: the worker writes environment.json, and the config is a file of the run."""

    def _init_model_weights(self) -> None:
        model = self.model.module if is_model_wrapper(self.model) else self.model
        check_pretrained(model)
        initialize_by_name(model, self.seed, super()._init_model_weights)
        if self.fast is not None:
            self.fast.lay_out(model)
