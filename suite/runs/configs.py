"""The shipped config files: methods, presets and recipes."""

import functools
from pathlib import Path
from typing import Any

from mmengine.config import Config

from suite.errors import SuiteError, nearest

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def names(kind: str) -> list[str]:
    """Names of the shipped configs of a kind: ``methods``, ``presets`` or ``recipes/<option>``."""
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.py"))


@functools.cache
def load(kind: str, name: str) -> Config:
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
    return Config.fromfile(
        path,
        import_custom_modules=False,
        use_predefined_variables=False,
        use_environment_variables=False,
        lazy_import=False,
    )


def method_info(name: str) -> dict[str, Any]:
    """A method's ``suite`` section: label, paper, named options."""
    return dict(_info("methods", name))


def preset_info(name: str) -> dict[str, Any]:
    """A preset's ``suite`` section: dataset, resources, seeds, expected cost."""
    return dict(_info("presets", name))


@functools.cache
def _info(kind: str, name: str) -> dict[str, Any]:
    info: dict[str, Any] = load(kind, name).suite.to_dict()
    return info
