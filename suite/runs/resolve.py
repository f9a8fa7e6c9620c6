"""From a spec to the one config that trains it: method, then preset, then options, then dataset and seed."""

import pprint
from typing import Any

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.limits import check_fields
from suite.runs.adjustments import adjust
from suite.runs.configs import fresh, load, merged, method_info, preset_info
from suite.runs.options import brought_options, fragments, holder_of, paths_of
from suite.runs.presets import RESOURCES, part_of, resources_of, stated_resources
from suite.runs.spec import RunSpec


def _sizes(method: str, preset: str) -> dict[str, Any]:
    """The config keys that a preset sets for a method, with its images per step shared by its processes.

    Raises:
        SuiteError: The preset trains on small images, and has no part for this method.
    """
    part, info = part_of(method, preset), preset_info(preset)
    if part is None:
        if info.get("full_scale"):
            return {}
        like = method_info(method).get("like")
        raise SuiteError(
            f"method {method!r}: preset {preset!r} does not say how to fit it to its small images"
            + (f", nor {like!r}, which it is like." if like else "."),
            f"Name the method whose sizes it takes in its file, suite = dict(like=...), one of "
            f"{', '.join(info.get('by_method', {}))}; or add it to the preset's by_method.",
        )
    sizes = {key: value for key, value in part.items() if key not in RESOURCES}
    if "batch" in part:
        own = part["batch"] // stated_resources(method, preset).processes
        sizes["train_dataloader"] = {**sizes.get("train_dataloader", {}), "batch_size": own}
    return sizes


def preset_batch(method: str, preset: str) -> int:
    """Images per step that a preset has for a method.

    Raises:
        SuiteError: The preset does not say how to train the method.
    """
    config = _merged(method, preset)
    return int(config["train_dataloader"]["batch_size"]) * stated_resources(method, preset).processes


def _merged(method: str, preset: str) -> dict[str, Any]:
    """A method's file with the preset's keys, then its part for the method; hooks as the method's."""
    own = ("suite", "custom_hooks")
    keys = {key: value for key, value in load("presets", preset).items() if key not in own}
    return merged(merged(load("methods", method), keys), _sizes(method, preset))


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
    config = _merged(spec.method, spec.preset)
    options = config.pop("suite")["options"]
    hooks = _joined_hooks(
        config.get("custom_hooks", []), load("presets", spec.preset).get("custom_hooks", [])
    )
    for fragment in fragments(spec.method, spec.options):
        config = merged(config, fragment)
    config = merged(config, preset_info(spec.preset).get("over_recipes", {}))
    resolved: dict[str, Any] = fresh({**config, "custom_hooks": hooks})
    for option, value in {**brought_options(spec.method, spec.options), **spec.options}.items():
        for path in paths_of(options.get(option, [])):
            _set(resolved, path, value)
    check_fields(resolved["model"], "model")
    return resolved


def resolve(spec: RunSpec, dataset: Dataset) -> dict[str, Any]:
    """The complete mmengine config of a run, but for ``work_dir``.

    That is :func:`compose`, then the adjustments of the spec, dataset, classes and seed.

    Args:
        spec: As for :func:`compose`.
        dataset: What the run trains and is evaluated on.

    Raises:
        SuiteError: As :func:`compose`.
    """
    resolved = compose(spec)
    given = resources_of(spec.method, spec.preset, spec.adjustments)
    own = stated_resources(spec.method, spec.preset)
    adjust(
        resolved,
        # A rehearsal keeps the images per process, which memory depends on, not those per step.
        given if preset_info(spec.preset).get("rehearsal") else own,
        given,
        spec.adjustments,
        f"{spec.method} at preset {spec.preset}",
    )
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
