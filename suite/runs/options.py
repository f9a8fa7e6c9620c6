"""What a run's options may be, and what becomes of them at a preset.

A method has options of its own (``suite['options']`` in its file: name -> path in the config) and recipes:
backbone, schedule and scales, which every method has. The rows of published tables differ in them:
``options: {K: 20, backbone: r101, schedule: 2x, test_scales: 480-1280}``. A recipe's value is a file
``suite/configs/recipes/<option>/<value>.py``, merged over the method; the default values are what the
methods' own files have. A method that has something of its own there names the option in its file's
``suite['without']``. Where its authors set an option otherwise with a recipe, as LTM's learning rate with a
larger backbone, its file says so in ``suite['brings']``: recipe -> its value -> options.

The full-scale presets have every recipe. The others train one backbone by one schedule at one scale of their
own: there a row with another schedule or training scale is the run without it, and a row with another
backbone or test scale cannot be measured.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from suite.errors import SuiteError, nearest
from suite.limits import problem_of
from suite.runs.configs import load, method_info, names, preset_info
from suite.runs.spec import RunSpec

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


def check_options(method: str, options: Mapping[str, Any]) -> None:
    """Check the names and values of a method's options.

    Raises:
        SuiteError: The method, an option or a recipe is unknown, or an option's value has another
            type than its default or is out of range (:mod:`suite.limits`).
    """
    config = load("methods", method)
    own, known = method_info(method)["options"], known_options(method)
    for option, value in options.items():
        if option not in known:
            raise SuiteError(
                f"method {method!r} has no option {option!r}.{nearest(option, known)}",
                f"Its options: {', '.join(known)}.",
            )
        if option not in own:
            check_recipe(option, value)
            continue
        for path in paths_of(own[option]):
            default = value_at(config, path)
            if not _fits(value, default):
                raise SuiteError(
                    f"option {option!r} of method {method!r}: expected {type(default).__name__} "
                    f"like {default!r}, found {value!r}."
                )
            holder, field = holder_of(config, path)
            kind = holder.get("type") if isinstance(holder, dict) else None
            if problem := problem_of(field, value, kind):
                raise SuiteError(f"option {option!r} of method {method!r}: {problem}")


def _fits(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))


def paths_of(target: str | list[str]) -> list[str]:
    """Where an option stands in a config: one path, or several."""
    return [target] if isinstance(target, str) else target


def value_at(config: Any, path: str) -> Any:
    """What a config holds at a dotted path."""
    for key in path.split("."):
        config = config[int(key)] if isinstance(config, (list, tuple)) else config[key]
    return config


def holder_of(config: Any, path: str) -> tuple[Any, str]:
    """The part of a config that holds the field at ``path``, and the field's name."""
    parents, _, last = path.rpartition(".")
    return (value_at(config, parents) if parents else config), last


@dataclass(frozen=True)
class AtPreset:
    """What becomes of a method's options at a preset.

    Attributes:
        options: Those that apply, without recipes at their default and those that the preset leaves out.
        why_not: Why the row cannot be measured at this preset; empty if it can.
        left_out: Recipes in whose place the preset has its own, like ``schedule 2x``.
    """

    options: dict[str, Any]
    why_not: str
    left_out: tuple[str, ...]


def at_preset(method: str, options: Mapping[str, Any], preset: str) -> AtPreset:
    """Apply a row's options, its own and recipes, at a preset.

    Raises:
        SuiteError: The method, the preset or an option is unknown, or an option's value is not allowed.
    """
    check_options(method, options)
    recipes = {option: value for option, value in options.items() if option in recipe_options(method)}
    own = {option: value for option, value in options.items() if option not in recipes}
    chosen = {option: str(value) for option, value in recipes.items() if str(value) != DEFAULTS[option]}
    if preset_info(preset).get("full_scale"):
        return AtPreset({**own, **chosen}, "", ())
    why = f"not measurable at preset {preset}"
    if whole := method_info(method).get("full_scale_only"):
        return AtPreset(own, f"{why}: {whole}; PRESET=paper trains it", ())
    for option, (limit, verb) in _REFUSED.items():
        if option in chosen:
            return AtPreset(own, f"{why}: it {limit}; PRESET=paper {verb} {chosen[option]}", ())
    return AtPreset(own, "", tuple(f"{option} {value}" for option, value in chosen.items()))


def spec_at(method: str, preset: str, seed: int, options: Mapping[str, Any] | None = None) -> RunSpec:
    """The spec of a method with options at a preset; equal runs have equal specs.

    Raises:
        SuiteError: As :func:`at_preset`, or the preset cannot train it.
    """
    applied = at_preset(method, options or {}, preset)
    if applied.why_not:
        raise SuiteError(f"{method}: {applied.why_not}.")
    return RunSpec(method, preset, seed, applied.options)


def brought_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The method's own options as its authors set them with the recipes among ``options``.

    What ``options`` name themselves is left out: a row's own value stands above what its recipes bring.
    """
    brings: Mapping[str, Any] = method_info(method).get("brings", {})
    found: dict[str, Any] = {}
    for recipe, by_value in brings.items():
        found |= by_value.get(str(options.get(recipe, DEFAULTS[recipe])), {})
    return {option: value for option, value in found.items() if option not in options}


def fragments(method: str, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The config fragments of the recipes among ``options``, to be merged in this order."""
    for option in recipe_options(method):
        if option in options and str(options[option]) != DEFAULTS[option]:
            yield load(f"recipes/{option}", str(options[option]))
