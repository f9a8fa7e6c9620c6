"""Which of the suite's modules a run executes, and a hash of each that comments and docstrings do not change.

A module's folder says when it is executed:

- ``detectors`` and ``training``: while a detector trains. They make a trained detector what it is.
- ``inference`` and ``evaluation``: when a trained detector is evaluated.
- All others, ``telemetry`` among them, change no number of a run: they watch, plan, schedule or report.

Modules are read, not imported (they import torch).
"""

import functools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from suite.errors import SuiteError
from suite.runs.code import Code, code_of

PACKAGE = Path(__file__).resolve().parent.parent
TRAINS = ("detectors", "training")
"""Folders of the package whose modules train."""

EVALUATES = ("inference", "evaluation")
"""Folders whose modules evaluate."""

_REGISTERED = re.compile(r"^@\w+\.register_module\(.*\)\n(?:@.*\n)*class (\w+)", re.MULTILINE)

RESULT = "suite.inference.result"
"""The module that computes the numbers of ``result.json``: every evaluation executes it."""


@dataclass(frozen=True)
class Sources:
    """Module name -> hash of its code.

    Attributes:
        training: Modules that train.
        evaluation: Modules that evaluate.
    """

    training: dict[str, str]
    evaluation: dict[str, str]


def sources(training: Any, evaluation: Any, imports: Iterable[str] = ()) -> Sources:
    """The modules that a run executes.

    Found by the classes that its config names, and by what their modules import. A module of ``inference``
    that a head imports evaluates, whoever imports it.

    Args:
        training: The part of the config that trains.
        evaluation: The part that evaluates alone.
        imports: Modules that the config imports (``custom_imports``). Those outside the suite are somebody's
            own and count as training.

    Raises:
        SuiteError: A module that the config imports cannot be found.
    """
    files, classes = _index()
    trains: set[str] = set()
    evaluates: set[str] = set()
    waiting = [RESULT]
    for part in (training, evaluation):
        waiting += [classes[name] for name in _types(part) if name in classes]
    while waiting:
        name = waiting.pop()
        found = trains if name.split(".")[1] in TRAINS else evaluates
        if name not in found:
            found.add(name)
            waiting += _read(files[name]).imports & files.keys()
    own = {name: digest for module in imports for name, digest in _own_code(module).items()}
    return Sources(
        training=own | {name: _read(files[name]).digest for name in sorted(trains)},
        evaluation={name: _read(files[name]).digest for name in sorted(evaluates)},
    )


def file_of(module: str) -> str:
    """How people name a module of the suite: ``detectors/ltm_head.py``."""
    if not module.startswith("suite."):
        return module
    return module.removeprefix("suite.").replace(".", "/") + ".py"


def code_digest(path: Path) -> str:
    """A hash of a module's code that comments and docstrings do not change."""
    return _read(path).digest


def _types(value: Any) -> Iterator[str]:
    """Every name that a config hands to a registry, in dicts, lists and tuples."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("type", "runner_type") and isinstance(item, str):
                yield item.rpartition(".")[2]  # a scope may stand before it: "mmdet.FocalLoss"
            else:
                yield from _types(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _types(item)


@functools.cache
def _index() -> tuple[dict[str, Path], dict[str, str]]:
    """The modules below :data:`TRAINS` and :data:`EVALUATES`: name -> file, and registered class -> name."""
    files: dict[str, Path] = {}
    classes: dict[str, str] = {}
    for folder in (*TRAINS, *EVALUATES):
        for path in sorted((PACKAGE / folder).glob("**/*.py")):
            if path.stem != "__init__":
                name = ".".join(("suite", *path.relative_to(PACKAGE).with_suffix("").parts))
                files[name] = path
                classes |= dict.fromkeys(_REGISTERED.findall(path.read_text()), name)
    return files, classes


def _own_code(module: str) -> dict[str, str]:
    """Hashes of a module that is somebody's own, or of all modules of a package.

    Empty for installed packages, which count by their versions.

    Raises:
        SuiteError: There is no such module.
    """
    if module.partition(".")[0] == "suite":
        return {}
    spec, folders = None, [os.getcwd(), *sys.path]
    for name in module.split("."):
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            raise SuiteError(
                f"custom_imports.imports: there is no module {module!r}.",
                "Correct the name, or put the folder that holds it into PYTHONPATH.",
            )
        folders = list(spec.submodule_search_locations or ())
    file = Path(spec.origin) if spec is not None and spec.origin else None
    if file is None or file.suffix != ".py" or {"site-packages", "dist-packages"} & set(file.parts):
        return {}
    if file.name != "__init__.py":
        return {module: _read(file).digest}
    return {
        ".".join((module, *path.relative_to(file.parent).with_suffix("").parts)): _read(path).digest
        for path in sorted(file.parent.glob("**/*.py"))
    }


def _read(path: Path) -> Code:
    """A module's hash and what it imports."""
    return code_of(path.read_text())
