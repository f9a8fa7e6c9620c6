"""A hash of a module's code that comments and docstrings do not change, and what the module imports.

Hashing all modules of a plan takes a third of it. So hashes are kept beside Python's own compiled
files, by the text that they are of: a text that is there needs no parsing.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from suite.errors import SuiteError
from suite.files import write_atomically

_MOST = 1000
"""Kept hashes; with more, those that the process did not use go."""


@dataclass(frozen=True)
class Code:
    """What identifies a module.

    Attributes:
        digest: Hash of its code, 16 hexadecimal digits.
        imports: Names of modules that it may import; names in modules are among them.
    """

    digest: str
    imports: frozenset[str]


@functools.cache
def code_of(text: str) -> Code:
    """Hash and imports of a module's text."""
    key = hashlib.sha256(text.encode()).hexdigest()
    known = _kept().get(key)
    code = Code(known[0], frozenset(known[1])) if known else _parsed(text)
    _used[key] = (code.digest, sorted(code.imports))
    return code


def keep() -> None:
    """Write down the hashes of texts that are new; where that is not possible, they are made again."""
    kept = _kept()
    if _used.keys() <= kept.keys() or sys.dont_write_bytecode:
        return
    everything = {**kept, **_used}
    kept.clear()
    kept.update(everything if len(everything) <= _MOST else _used)
    with contextlib.suppress(SuiteError):
        write_atomically(_file(), json.dumps({"made_by": _made_by(), "hashes": kept}))


_Entry = tuple[str, list[str]]
_used: dict[str, _Entry] = {}
"""Hash of a text -> hash of its code and its imports, of the texts that this process has seen."""


@functools.cache
def _kept() -> dict[str, _Entry]:
    """What :func:`keep` wrote, by this version of this module and of Python."""
    try:
        content = json.loads(_file().read_bytes())
        if content["made_by"] == _made_by():
            return {key: (str(digest), list(imports)) for key, (digest, imports) in content["hashes"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass  # none yet, or damaged
    return {}


def _file() -> Path:
    return Path(importlib.util.cache_from_source(__file__)).with_suffix(".hashes.json")


@functools.cache
def _made_by() -> str:
    return hashlib.sha256(f"{sys.version}\n{Path(__file__).read_text()}".encode()).hexdigest()


def _parsed(text: str) -> Code:
    tree = ast.parse(text)
    imports = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imports.add(node.module)
            imports |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
    digest = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
    return Code(digest[:16], frozenset(imports))


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, of an attribute too."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
