"""From a spec to the one config that trains it: method, then preset, then options, then dataset and seed."""

import pprint
from typing import Any

from suite.data.dataset import Dataset
from suite.errors import SuiteError, nearest
from suite.limits import check_fields, problem_of
from suite.runs.configs import load, method_info, names, preset_info
from suite.runs.recipes import at_preset, check_recipe, fragments, known_options
from suite.runs.spec import RunSpec

__all__ = ["check_options", "config_source", "method_info", "names", "preset_info", "resolve"]


def check_options(spec: RunSpec) -> None:
    """Check a spec's names without resolving it.

    Raises:
        SuiteError: The method, the preset, an option or a recipe is unknown, or an option's value has another
            type than its default or is out of range (:mod:`suite.limits`).
    """
    preset_info(spec.preset)
    config = load("methods", spec.method)
    own, known = method_info(spec.method)["options"], known_options(spec.method)
    for option, value in spec.options.items():
        if option not in known:
            raise SuiteError(
                f"method {spec.method!r} has no option {option!r}.{nearest(option, known)}",
                f"Its options: {', '.join(known)}.",
            )
        if option not in own:
            check_recipe(option, value)
            continue
        for path in _paths(own[option]):
            default = _get(config, path)
            if not _fits(value, default):
                raise SuiteError(
                    f"option {option!r} of method {spec.method!r}: expected {type(default).__name__} "
                    f"like {default!r}, found {value!r}."
                )
            holder, field = _holder(config, path)
            kind = holder.get("type") if isinstance(holder, dict) else None
            if problem := problem_of(field, value, kind):
                raise SuiteError(f"option {option!r} of method {spec.method!r}: {problem}")


def _fits(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))


def _sizes(spec: RunSpec, info: dict[str, Any], like: str | None) -> dict[str, Any]:
    """What a preset sets for a method: its own part, or that of the method which it names as ``like``.

    Raises:
        SuiteError: The preset trains on small images, and has no part for this method.
    """
    by_method: dict[str, dict[str, Any]] = info.get("by_method", {})
    for name in (spec.method, like):
        if name in by_method:
            return by_method[name]
    if info.get("full_scale"):
        return {}
    raise SuiteError(
        f"method {spec.method!r}: preset {spec.preset!r} does not say how to fit it to its small images"
        + (f", nor {like!r}, which it is like." if like else "."),
        f"Name the method whose sizes it takes in its file, suite = dict(like=...), one of "
        f"{', '.join(by_method)}; or add it to the preset's by_method.",
    )


def _paths(target: str | list[str]) -> list[str]:
    return [target] if isinstance(target, str) else target


def _get(config: Any, path: str) -> Any:
    for key in path.split("."):
        config = config[int(key)] if isinstance(config, (list, tuple)) else config[key]
    return config


def _holder(config: Any, path: str) -> tuple[Any, str]:
    """The part of a config that holds the field at ``path``, and the field's name."""
    parents, _, last = path.rpartition(".")
    return (_get(config, parents) if parents else config), last


def _set(config: dict[str, Any], path: str, value: Any) -> None:
    holder, last = _holder(config, path)
    holder[int(last) if isinstance(holder, list) else last] = value


def resolve(spec: RunSpec, dataset: Dataset) -> dict[str, Any]:
    """The complete mmengine config of a run, but for ``work_dir``, as plain Python values.

    The method's file comes first, the preset's keys are merged over it, then the preset's part for this
    method (``suite['by_method']``), then the recipes that the preset has (:mod:`suite.runs.recipes`),
    then the method's own options, and last dataset, classes and seed.

    Raises:
        SuiteError: A name in ``spec`` is unknown, an option has a value of another type or out of range, or
            the preset cannot train it.
    """
    check_options(spec)
    applied, reason = at_preset(spec.method, spec.options, spec.preset)
    if reason:
        raise SuiteError(f"{spec.method}: {reason}.")
    config = load("methods", spec.method).copy()
    overrides = load("presets", spec.preset).to_dict()
    info = overrides.pop("suite")
    own = config.pop("suite").to_dict()
    options = own["options"]
    config.merge_from_dict(overrides)
    config.merge_from_dict(_sizes(spec, info, own.get("like")))
    for fragment in fragments(spec.method, applied):
        config.merge_from_dict(fragment)
    resolved: dict[str, Any] = config.to_dict()
    for option, value in applied.items():
        for path in _paths(options.get(option, [])):
            _set(resolved, path, value)
    check_fields(resolved["model"], "model")
    _set_dataset(resolved, dataset)
    _set_classes(resolved["model"], len(dataset.categories))
    resolved["randomness"] = {"seed": spec.seed}
    resolved["train_dataloader"]["sampler"]["seed"] = spec.seed
    resolved["train_dataloader"]["dataset"]["seed"] = spec.seed
    return resolved


def _set_classes(model: dict[str, Any], count: int) -> None:
    """Set the number of classes of a dense head, or of the box heads of a two-stage detector."""
    heads = model["roi_head"]["bbox_head"] if "roi_head" in model else model["bbox_head"]
    for head in heads if isinstance(heads, list) else [heads]:
        head["num_classes"] = count


def _set_dataset(config: dict[str, Any], dataset: Dataset) -> None:
    for loader, split in (("train_dataloader", dataset.train), ("val_dataloader", dataset.val),
                          ("test_dataloader", dataset.val)):  # fmt: skip
        if config.get(loader):
            config[loader]["dataset"].update(
                data_root="",
                ann_file=str(split.annotations.resolve()),
                data_prefix={"img": str(split.images.resolve())},
                metainfo={"classes": dataset.categories},
            )
    for evaluator in ("val_evaluator", "test_evaluator"):
        if config.get(evaluator):
            config[evaluator]["ann_file"] = str(dataset.val.annotations.resolve())


def config_source(config: dict[str, Any]) -> str:
    """A resolved config as a Python file that mmengine's and mmdet's own tools can load."""
    return "".join(
        f"{key} = {pprint.pformat(value, width=110, sort_dicts=False)}\n" for key, value in config.items()
    )
