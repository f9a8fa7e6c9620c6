"""From a spec to the one config that trains it: method, then preset, then options, then dataset and seed."""

import pprint
from typing import Any

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.limits import check_fields
from suite.runs.configs import load
from suite.runs.options import brought_options, fragments, holder_of, paths_of
from suite.runs.spec import RunSpec


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


def _set(config: dict[str, Any], path: str, value: Any) -> None:
    holder, last = holder_of(config, path)
    holder[int(last) if isinstance(holder, list) else last] = value


def compose(spec: RunSpec) -> dict[str, Any]:
    """The config of a run but for what it owes to its data and its seed, as plain Python values.

    The method's file comes first, the preset's keys are merged over it, then the preset's part for this
    method (``suite['by_method']``), then the recipes that the preset has (:mod:`suite.runs.options`), then
    what the preset sets whatever the recipes (``suite['over_recipes']``), the options that recipes bring, and
    last the spec's own. Lists of hooks are joined: a preset changes the settings of a method's hook, or adds
    one, and takes none away.

    Args:
        spec: A spec of :func:`suite.runs.options.spec_at`, which has checked its names and values.

    Raises:
        SuiteError: Options do not go together, or the preset does not say how to train the method.
    """
    config = load("methods", spec.method).copy()
    overrides = load("presets", spec.preset).to_dict()
    info = overrides.pop("suite")
    own = config.pop("suite").to_dict()
    options = own["options"]
    hooks = _joined_hooks(config.to_dict().get("custom_hooks", []), overrides.pop("custom_hooks", []))
    config.merge_from_dict(overrides)
    config.merge_from_dict(_sizes(spec, info, own.get("like")))
    for fragment in fragments(spec.method, spec.options):
        config.merge_from_dict(fragment)
    config.merge_from_dict(info.get("over_recipes", {}))
    resolved: dict[str, Any] = config.to_dict()
    resolved["custom_hooks"] = hooks
    for option, value in {**brought_options(spec.method, spec.options), **spec.options}.items():
        for path in paths_of(options.get(option, [])):
            _set(resolved, path, value)
    check_fields(resolved["model"], "model")
    return resolved


def resolve(spec: RunSpec, dataset: Dataset) -> dict[str, Any]:
    """The complete mmengine config of a run, but for ``work_dir``: :func:`compose`, dataset, classes, seed.

    Args:
        spec: As for :func:`compose`.
        dataset: What the run trains and is evaluated on.

    Raises:
        SuiteError: As :func:`compose`.
    """
    resolved = compose(spec)
    _set_dataset(resolved, dataset)
    _set_classes(resolved["model"], len(dataset.categories))
    resolved["randomness"] = {**resolved.get("randomness", {}), "seed": spec.seed}
    resolved["train_dataloader"]["sampler"]["seed"] = spec.seed
    resolved["train_dataloader"]["dataset"]["seed"] = spec.seed
    return resolved


def _joined_hooks(own: list[dict[str, Any]], preset: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A method's hooks with the preset's settings; hooks that the method lacks come last."""
    settings = {hook["type"]: hook for hook in preset}
    joined = [{**hook, **settings.pop(hook["type"], {})} for hook in own]
    return [*joined, *settings.values()]


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
