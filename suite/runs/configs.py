"""The shipped config files: methods, presets and recipes.

They are read as mmengine's ``Config`` reads them, but without mmengine: to import it, and to read the bases
of each file anew, takes as long as all the rest of a plan.
"""

import functools
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.errors import SuiteError, nearest

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

_DELETE = "_delete_"
_MMENGINES_OWN = re.compile(r"\{\{|\b_base_\.|::|\bread_base\b")
"""What a file has that only mmengine reads: variables of its bases, other projects' files, imported bases."""


def names(kind: str) -> list[str]:
    """Names of the shipped configs of a kind: ``methods``, ``presets`` or ``recipes/<option>``."""
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.py"))


def load(kind: str, name: str) -> dict[str, Any]:
    """A shipped config; not to be changed.

    Raises:
        SuiteError: There is none of this name.
    """
    path = CONFIGS / kind / f"{name}.py"
    if not path.exists():
        known = names(kind)
        raise SuiteError(
            f"{kind.removesuffix('s')} {name!r} is unknown.{nearest(name, known)}",
            f"Known: {', '.join(known)}.",
        )
    return read(path)


@functools.cache
def read(path: Path) -> dict[str, Any]:
    """What mmengine's ``Config.fromfile`` reads from a Python file, as plain values; not to be changed.

    Raises:
        KeyError: Two of its bases set the same key.
        TypeError: See :func:`merged`.
    """
    text = path.read_text()
    if _MMENGINES_OWN.search(text):
        from mmengine.config import Config

        whole: dict[str, Any] = Config.fromfile(
            path,
            import_custom_modules=False,
            use_predefined_variables=False,
            use_environment_variables=False,
            lazy_import=False,
        ).to_dict()
        return whole
    own: dict[str, Any] = {}
    exec(compile(text, path, "exec"), own)
    bases = own.pop("_base_", [])
    config: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        found = read((path.parent / base).resolve())
        if twice := config.keys() & found.keys():
            raise KeyError(f"{path}: two of its bases set {', '.join(sorted(twice))}.")
        config |= found
    return merged(
        config,
        {
            key: value
            for key, value in own.items()
            if not (key.startswith("__") or isinstance(value, types.FunctionType | types.ModuleType))
        },
    )


def merged(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A config with changes, merged as mmengine's ``Config.merge_from_dict`` does; neither is changed.

    Dicts are merged key by key, or replaced where the change says ``_delete_=True``; a dict with the keys
    "0", "1", ... changes these items of a list. All else replaces what was there.

    Raises:
        KeyError: A list has no such item.
        TypeError: A dict is to be merged with something that is neither a dict nor a list.
    """
    result = dict(config)
    for key, value in changes.items():
        result[key] = _merged(result[key], value, key) if key in result else value
    return result


def _merged(before: Any, change: Any, key: str) -> Any:
    if not isinstance(change, dict):
        return change
    rest = {name: value for name, value in change.items() if name != _DELETE}
    if change.get(_DELETE):
        return rest
    if isinstance(before, dict):
        return merged(before, rest)
    if not isinstance(before, list):
        raise TypeError(
            f"{key}: a dict cannot be merged with {before!r}; with {_DELETE}=True it replaces it."
        )
    items = list(before)
    for name, value in rest.items():
        if not name.isdigit() or int(name) >= len(items):
            raise KeyError(f"{key}: a list of {len(items)} items has no {name!r}.")
        items[int(name)] = _merged(items[int(name)], value, f"{key}.{name}")
    return items


def fresh(value: Any) -> Any:
    """A copy of a config's value that shares no dict, list or tuple with it."""
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    return type(value)(map(fresh, value)) if isinstance(value, list | tuple) else value


def method_info(name: str) -> dict[str, Any]:
    """A method's ``suite`` section: label, paper, named options."""
    return dict(load("methods", name)["suite"])


def preset_info(name: str) -> dict[str, Any]:
    """A preset's ``suite`` section: dataset, resources, seeds, expected cost."""
    return dict(load("presets", name)["suite"])
