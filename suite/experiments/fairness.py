"""Whether a comparison is fair: rows may differ in the declared factor, and in nothing else unsaid."""

from collections.abc import Iterator, Mapping
from typing import Any

from suite.errors import SuiteError, nearest
from suite.experiments.schema import Experiment, Row
from suite.runs.configs import method_info
from suite.runs.options import known_options

METHOD = "method"
"""The factor whose levels are the methods themselves."""

_OF_THE_METHOD = (
    "model.type",
    "model.bbox_head",
    "model.rpn_head",
    "model.roi_head",
    "model.train_cfg",
    "custom_hooks.SelfBalanceHook",  # a part of aLRP Loss
)
_NAMES = {
    "model.bbox_head.anchor_generator": "anchors",
    "model.bbox_head.init_cfg": "initial weights",
    "model.bbox_head.stacked_convs": "convolutions of the head",
    "model.bbox_head.norm_cfg": "norm of the head",
    "model.backbone": "backbone",
    "model.neck": "FPN",
    "model.test_cfg": "post-processing",
    "model.data_preprocessor": "image preprocessing",
    "optim_wrapper.optimizer.lr": "learning rate",
    "optim_wrapper.clip_grad": "gradient clipping",
    "optim_wrapper.paramwise_cfg": "learning rate of biases",
    "optim_wrapper": "optimizer",
    "param_scheduler": "schedule",
    "train_cfg": "epochs",
    "train_dataloader": "training images",
    "custom_hooks": "hooks",
    "load_from": "start weights",
    "test_dataloader": "test images",
}
"""Part of the config -> what readers call it. Parts of a head that come first here are no part of a method's
matching: where they differ, that is said."""
_LAYER_NAMES = frozenset({"model.bbox_head.init_cfg.override.name"})
"""What a head calls its layers: no difference."""
_RECIPES = {
    "backbone": ("model.backbone", "model.neck"),
    "schedule": ("param_scheduler", "train_cfg"),
    "train_scales": ("train_dataloader",),
    "test_scales": ("test_dataloader", "test_cfg"),
}
"""Recipe -> the parts of the config that it sets."""
_SHOWN = 4


def check_factor(experiment: Experiment) -> None:
    """Refuse rows that differ in something that the experiment does not declare as its factor.

    An option that some row sets, and that is no factor, has to be set to the same value in every row whose
    method has it.

    Raises:
        SuiteError: A factor is no option of any row's method, or rows differ beside the factors.
    """
    rows = [(index, row) for index, row in enumerate(experiment.rows) if row.method is not None]
    known = {METHOD} | {option for _, row in rows for option in known_options(row.method or "")}
    for index, factor in enumerate(experiment.factor):
        if rows and factor not in known:
            raise SuiteError(
                f"{experiment.at('factor', index)}: {factor!r} is neither 'method' nor an option of a row's "
                f"method.{nearest(factor, known)}",
                f"Known here: {', '.join(sorted(known))}.",
            )
    if METHOD not in experiment.factor and len({row.method for _, row in rows}) > 1:
        index = next(index for index, row in rows if row.method != rows[0][1].method)
        raise SuiteError(
            f"{experiment.at('rows', index, 'method')}: expected {rows[0][1].method!r} as in row "
            f"{rows[0][1].label!r}, found {rows[index][1].method!r}: 'method' is no declared factor.",
            "Add 'method' to the field 'factor'.",
        )
    for option in sorted({name for _, row in rows for name in row.options} - set(experiment.factor)):
        _check_option(experiment, option, [(i, r) for i, r in rows if _has(r, option)])


def _has(row: Row, option: str) -> bool:
    return option in known_options(row.method or "")


def _check_option(experiment: Experiment, option: str, rows: list[tuple[int, Row]]) -> None:
    values = [(index, row, row.options.get(option, _DEFAULT)) for index, row in rows]
    for index, row, value in values:
        if value != values[0][2]:
            first = values[0][1].label
            raise SuiteError(
                f"{experiment.at('rows', index)}: option {option!r} is {value!r} in row {row.label!r} and "
                f"{values[0][2]!r} in row {first!r}, and {option!r} is no declared factor.",
                f"Add {option!r} to the field 'factor', or give it the same value in both rows.",
            )


class _Default:
    def __repr__(self) -> str:
        return "left at its default"


_DEFAULT = _Default()


def audit(experiment: Experiment, configs: Mapping[str, dict[str, Any]]) -> list[str]:
    """What rows differ in from the baseline's row beside the declared factor, one sentence a row.

    Args:
        experiment: The experiment.
        configs: Row label -> canonical resolved config, for the rows that have one.

    Returns:
        Empty where nothing but the factor differs.
    """
    base = configs.get(experiment.baseline or "")
    if base is None:
        return []
    baseline = dict(_leaves(base))
    sentences = []
    for row in experiment.rows:
        config = configs.get(row.label)
        if config is None or row.label == experiment.baseline:
            continue
        own = dict(_leaves(config))
        changed = [path for path in {*own, *baseline} - _LAYER_NAMES if own.get(path) != baseline.get(path)]
        groups: dict[str, list[str]] = {}
        for path in sorted(path for path in changed if not _declared(experiment, row, path)):
            groups.setdefault(_part(path), []).append(path)
        if groups:
            found = "; ".join(_text(part, paths, own, baseline) for part, paths in groups.items())
            sentences.append(f"{row.label}: {found}")
    return sentences


def _declared(experiment: Experiment, row: Row, path: str) -> bool:
    """Whether a difference at ``path`` of the config is the declared factor's."""
    for factor in experiment.factor:
        if factor == METHOD:
            named = _part(path) in _NAMES and _part(path).startswith(_OF_THE_METHOD)
            if path.startswith(_OF_THE_METHOD) and not named:
                return True
        elif any(path == own or path.startswith(f"{own}.") for own in _paths(row, factor)):
            return True
    return False


def _paths(row: Row, option: str) -> list[str]:
    """What an option sets in the config of the row's method."""
    if option in _RECIPES:
        return list(_RECIPES[option])
    found = method_info(row.method or "")["options"].get(option, [])
    return [found] if isinstance(found, str) else list(found)


def _part(path: str) -> str:
    """What a path of the config belongs to: a key of the names, or itself."""
    return next((part for part in _NAMES if path == part or path.startswith(f"{part}.")), path)


def _text(part: str, paths: list[str], own: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    def value(leaves: Mapping[str, Any], path: str) -> str:
        return str(leaves[path]) if path in leaves else "none"

    shown = [
        f"{path.removeprefix(part).lstrip('.')} {value(own, path)} (baseline {value(baseline, path)})".strip()
        for path in paths[:_SHOWN]
    ]
    more = f", and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{_NAMES.get(part, part)}: {', '.join(shown)}{more}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything in a config; a list of plain values is one leaf.

    A hook goes by its type: its place among the others means nothing.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif path == "custom_hooks":
        for hook in value:
            yield from _leaves(hook, f"{path}.{hook['type']}")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, value
