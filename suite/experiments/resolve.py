"""From a spec to the one config that trains it: method, then preset, then options, then dataset and seed."""

import functools
import pprint
from pathlib import Path
from typing import Any

from mmengine.config import Config

from suite.data.dataset import Dataset
from suite.errors import SuiteError, nearest
from suite.experiments.spec import RunSpec
from suite.limits import check_fields, problem_of

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def names(kind: str) -> list[str]:
    """Names of the shipped configs of a kind: ``methods`` or ``presets``."""
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.py"))


@functools.cache
def _load(kind: str, name: str) -> Config:
    path = CONFIGS / kind / f"{name}.py"
    if not path.exists():
        known = names(kind)
        raise SuiteError(
            f"{kind.removesuffix('s')} {name!r} is unknown.{nearest(name, known)}",
            f"Known: {', '.join(known)}.",
        )
    return Config.fromfile(path, import_custom_modules=False)


def method_info(name: str) -> dict[str, Any]:
    """A method's ``suite`` section: label, paper, named options."""
    return _load("methods", name).suite.to_dict()


def preset_info(name: str) -> dict[str, Any]:
    """A preset's ``suite`` section: dataset, resources, seeds, expected cost."""
    return _load("presets", name).suite.to_dict()


def check_options(spec: RunSpec) -> None:
    """Check a spec's names without resolving it.

    Raises:
        SuiteError: The method, the preset or an option is unknown, or an option's value has another type
            than its default or is out of range (:mod:`suite.limits`).
    """
    preset_info(spec.preset)
    config = _load("methods", spec.method)
    known = method_info(spec.method)["options"]
    for option, value in spec.options.items():
        if option not in known:
            raise SuiteError(
                f"method {spec.method!r} has no option {option!r}.{nearest(option, known)}",
                f"Its options: {', '.join(known)}.",
            )
        for path in _paths(known[option]):
            default = _get(config, path)
            if not _fits(value, default):
                raise SuiteError(
                    f"option {option!r} of method {spec.method!r}: expected {type(default).__name__} "
                    f"like {default!r}, found {value!r}."
                )
            if problem := problem_of(path.split(".")[-1], value):
                raise SuiteError(f"option {option!r} of method {spec.method!r}: {problem}")


def _fits(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))


def _paths(target: str | list[str]) -> list[str]:
    return [target] if isinstance(target, str) else target


def _get(config: Any, path: str) -> Any:
    for key in path.split("."):
        config = config[int(key)] if isinstance(config, (list, tuple)) else config[key]
    return config


def _set(config: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    holder: Any = _get(config, ".".join(parents)) if parents else config
    holder[int(last) if isinstance(holder, list) else last] = value


def resolve(spec: RunSpec, dataset: Dataset) -> dict[str, Any]:
    """The complete mmengine config of a run, but for ``work_dir``, as plain Python values.

    The method's file comes first, the preset's keys are merged over it, then the preset's part for this
    method (``suite['by_method']``), then the options, and last dataset, classes and seed.

    Raises:
        SuiteError: A name in ``spec`` is unknown, or an option has a value of another type or out of range.
    """
    check_options(spec)
    config = _load("methods", spec.method).copy()
    overrides = _load("presets", spec.preset).to_dict()
    info = overrides.pop("suite")
    options = config.pop("suite").to_dict()["options"]
    config.merge_from_dict(overrides)
    config.merge_from_dict(info.get("by_method", {}).get(spec.method, {}))
    resolved: dict[str, Any] = config.to_dict()
    for option, value in spec.options.items():
        for path in _paths(options[option]):
            _set(resolved, path, value)
    check_fields(resolved["model"], "model")
    _set_dataset(resolved, dataset)
    resolved["model"]["bbox_head"]["num_classes"] = len(dataset.categories)
    resolved["randomness"] = {"seed": spec.seed}
    resolved["train_dataloader"]["sampler"]["seed"] = spec.seed
    resolved["train_dataloader"]["dataset"]["seed"] = spec.seed
    return resolved


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
