"""Optuna's samplers and pruners, as a study writes them out."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from suite.tuning.study import Grid, Median, NoPruner, Percentile, Random, Study, Tpe

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def make_sampler(study: Study, trials: int) -> "BaseSampler":
    """The study's sampler.

    Args:
        study: The study.
        trials: Trials that the study has already: the sampler's generator starts from its seed and their
            number, so that a study that goes on does not draw what it has drawn.
    """
    import optuna

    arguments: dict[str, Any] = study.sampler.model_dump(exclude={"name"})
    if isinstance(study.sampler, Grid):
        return _grid_sampler(study)
    arguments["seed"] += trials
    if isinstance(study.sampler, Random):
        return optuna.samplers.RandomSampler(**arguments)
    if isinstance(study.sampler, Tpe):
        with warnings.catch_warnings():  # that multivariate and group may change
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(**arguments)
    return optuna.samplers.NSGAIISampler(**arguments)


def _grid_sampler(study: Study) -> "BaseSampler":
    import optuna

    class OnceThrough(optuna.samplers.GridSampler):
        """Optuna's, without ``study.stop()`` after the last point, which only ``optimize`` can do."""

        def after_trial(self, study: Any, trial: Any, state: Any, values: Sequence[float] | None) -> None:
            pass

    space = {name: dimension.values or [] for name, dimension in study.space.items()}
    return OnceThrough(space, seed=study.sampler.seed)


def make_pruner(study: Study) -> "BasePruner":
    """The study's pruner."""
    import optuna

    if isinstance(study.pruner, NoPruner):
        return optuna.pruners.NopPruner()
    arguments: dict[str, Any] = study.pruner.model_dump(exclude={"name"})
    if isinstance(study.pruner, Median):
        return optuna.pruners.MedianPruner(**arguments)
    assert isinstance(study.pruner, Percentile)
    return optuna.pruners.PercentilePruner(**arguments)
