"""The order of dimensions, and that draws stay within them."""

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.errors import SuiteError
from suite.tuning.space import ordered, suggest
from suite.tuning.study import SearchDimension, tidy


def _space(**dimensions: dict[str, Any]) -> dict[str, SearchDimension]:
    return {name: SearchDimension.model_validate(one) for name, one in dimensions.items()}


INT = {"type": "int", "low": 1, "high": 3}


def test_what_others_depend_on_comes_first() -> None:
    space = _space(a={**INT, "when": {"b": 1}}, b={**INT, "when": {"c": [1, 2]}}, c=INT, d=INT)
    assert ordered(space) == ["c", "d", "b", "a"]


def test_a_circle_of_conditions_is_refused() -> None:
    with pytest.raises(SuiteError, match="a, b depend on each other"):
        ordered(_space(a={**INT, "when": {"b": 1}}, b={**INT, "when": {"a": 1}}, c=INT))


def test_a_chain_of_conditions_ends_where_one_does_not_hold() -> None:
    space = _space(a=INT, b={**INT, "when": {"a": 2}}, c={**INT, "when": {"b": [1, 2, 3]}})
    trial = optuna.trial.FixedTrial({"a": 1, "b": 1, "c": 1})
    assert suggest(trial, space) == {"a": 1}  # type: ignore[arg-type]
    trial = optuna.trial.FixedTrial({"a": 2, "b": 1, "c": 3})
    assert suggest(trial, space) == {"a": 2, "b": 1, "c": 3}  # type: ignore[arg-type]


@given(
    low=st.integers(1, 50), steps=st.integers(0, 20), step=st.integers(1, 7),
    scale=st.sampled_from([0.001, 0.05, 0.1, 1.0]), seed=st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_stepped_draws_are_the_listed_values(
    low: int, steps: int, step: int, scale: float, seed: int
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bounds = {"low": low, "high": low + steps * step, "step": step}
    scaled = {name: tidy(value * scale) for name, value in bounds.items()}
    space = _space(x={"type": "float", **scaled}, n={"type": "int", **bounds})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    options = suggest(study.ask(), space)
    for name, dimension in space.items():
        assert dimension.values is not None
        assert options[name] in dimension.values
