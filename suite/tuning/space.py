"""The search space: its order, its draws."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from suite.errors import SuiteError
from suite.tuning.study import SearchDimension, tidy

if TYPE_CHECKING:
    from optuna.trial import Trial


def ordered(space: Mapping[str, SearchDimension]) -> list[str]:
    """Names of the dimensions, those that others depend on first, else as they stand.

    Raises:
        SuiteError: Conditions go round in a circle.
    """
    found: list[str] = []
    while len(found) < len(space):
        ready = [
            name
            for name, dimension in space.items()
            if name not in found and all(other in found for other in dimension.when)
        ]
        if not ready:
            circle = ", ".join(name for name in space if name not in found)
            raise SuiteError(f"the conditions ('when') of {circle} depend on each other.")
        found += ready
    return found


def suggest(trial: "Trial", space: Mapping[str, SearchDimension]) -> dict[str, Any]:
    """The options of a trial: draws what it does not have yet.

    A dimension whose condition does not hold is no option of the trial.
    """
    options: dict[str, Any] = {}
    for name in ordered(space):
        dimension = space[name]
        if all(options.get(other) in values for other, values in dimension.when.items()):
            options[name] = _draw(trial, name, dimension)
    return options


def _draw(trial: "Trial", name: str, dimension: SearchDimension) -> Any:
    if dimension.choices is not None:
        return trial.suggest_categorical(name, dimension.choices)
    low, high = dimension.low, dimension.high
    assert low is not None and high is not None
    if dimension.type == "int":
        return trial.suggest_int(name, int(low), int(high), step=int(dimension.step or 1), log=dimension.log)
    value = trial.suggest_float(name, low, high, step=dimension.step, log=dimension.log)
    return value if dimension.step is None else tidy(value)
