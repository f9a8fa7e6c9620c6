"""Recipes: backbone, schedule and scales as options that every method has, beside its own.

The rows of published tables differ in them: ``options: {backbone: r101, schedule: 2x, test_scales:
480-1280}``. A value is a file ``suite/configs/recipes/<option>/<value>.py``, merged over the method; the
default values are what the methods' own files have. A method that has something of its own there names the
option in ``suite['without']``.

The full-scale presets have every recipe. The others train one backbone by one schedule at one scale of their
own: there a row with another schedule or training scale is the run without it, and a row with another
backbone or test scale cannot be measured.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from suite.errors import SuiteError, nearest
from suite.runs.configs import load, method_info, names, preset_info

DEFAULTS = {"backbone": "r50", "schedule": "1x", "train_scales": "800", "test_scales": "800"}
"""Option -> its value in the methods' own files."""

_REFUSED = {"backbone": ("trains one backbone", "trains"), "test_scales": ("tests at one scale", "tests at")}
"""Options that change what is measured and that only the full-scale presets have, and how to say so."""


def recipe_options(method: str) -> list[str]:
    """The recipe options that a method has."""
    without = method_info(method).get("without", ())
    return [option for option in DEFAULTS if option not in without]


def known_options(method: str) -> list[str]:
    """All that a method's ``options`` may name: its own options and the recipes."""
    return [*method_info(method)["options"], *recipe_options(method)]


def check_recipe(option: str, value: Any) -> None:
    """Check the value of a recipe option.

    Raises:
        SuiteError: It is neither the default nor a shipped recipe.
    """
    known = [DEFAULTS[option], *names(f"recipes/{option}")]
    if str(value) not in known:
        raise SuiteError(
            f"option {option!r}: expected one of {', '.join(known)}, found {value!r}."
            f"{nearest(str(value), known)}"
        )


def at_preset(method: str, options: Mapping[str, Any], preset: str) -> tuple[dict[str, Any], str]:
    """What becomes of a row at a preset.

    Args:
        method: Name of the method.
        options: The row's options, its own and recipes.
        preset: Name of the preset.

    Returns:
        The options that apply, without recipes at their default and those that the preset leaves out; and why
        the row cannot be measured at this preset, empty if it can.

    Raises:
        SuiteError: The method, the preset or a recipe's value is unknown.
    """
    recipes = {option: value for option, value in options.items() if option in recipe_options(method)}
    for option, value in recipes.items():
        check_recipe(option, value)
    own = {option: value for option, value in options.items() if option not in recipes}
    chosen = {option: str(value) for option, value in recipes.items() if str(value) != DEFAULTS[option]}
    if preset_info(preset).get("full_scale"):
        return {**own, **chosen}, ""
    why = f"not measurable at preset {preset}"
    if whole := method_info(method).get("full_scale_only"):
        return own, f"{why}: {whole}; PRESET=paper trains it"
    for option, (limit, verb) in _REFUSED.items():
        if option in chosen:
            return own, f"{why}: it {limit}; PRESET=paper {verb} {chosen[option]}"
    return own, ""


def fragments(method: str, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The config fragments of the recipes among ``options``, to be merged in this order."""
    for option in recipe_options(method):
        if option in options and str(options[option]) != DEFAULTS[option]:
            yield load(f"recipes/{option}", str(options[option])).to_dict()
