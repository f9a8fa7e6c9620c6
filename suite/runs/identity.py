"""The identity of a run: what can change its result, and nothing else."""

import ast
import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.runs.spec import RunSpec

PACKAGE = Path(__file__).resolve().parent.parent
SOURCES = ("detectors", "training")
"""Folders of the package whose registered classes a config can name."""

NEUTRAL_KEYS = frozenset(
    {
        "ann_file", "data_root", "data_prefix", "work_dir", "out_dir",
        "num_workers", "persistent_workers", "prefetch_factor", "pin_memory",
        "log_level", "log_processor", "visualizer", "vis_backends", "launcher", "env_cfg",
        "custom_imports", "default_hooks", "custom_hooks", "load_from", "resume",
    }
)  # fmt: skip
"""Config keys that cannot change what a training produces: paths, logging, workers, hooks that only watch."""


EVALUATION_KEYS = frozenset({"test_cfg", "test_evaluator", "test_dataloader"})
"""Top-level config keys whose classes only evaluate a trained detector."""


@dataclass(frozen=True)
class Identity:
    """What a run's result depends on.

    Attributes:
        config: Canonical resolved config, without :data:`NEUTRAL_KEYS`.
        sources: Module name -> hash of its code, for the suite's modules that the training uses.
        evaluation: The same for modules that only the evaluation uses. They are no part of the ``run_id``:
            where they change, the trained detector is evaluated again.
        dataset: The dataset's fingerprint.
        seed: The run's seed.
    """

    config: dict[str, Any]
    sources: dict[str, str]
    evaluation: dict[str, str]
    dataset: str
    seed: int

    def digest(self) -> str:
        """SHA-256 over everything that the training depends on, in hexadecimal."""
        trained = {key: value for key, value in self.as_dict().items() if key != "evaluation"}
        return hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()

    def training_digest(self) -> str:
        """SHA-256 over what the trained detector depends on: equal for runs that differ in its testing alone.

        That is without :data:`EVALUATION_KEYS`, post-processing settings and score voting.
        """
        return training_digest(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The identity as JSON values, as kept in ``spec.json``."""
        return {
            "config": self.config, "sources": self.sources, "evaluation": self.evaluation,
            "dataset": self.dataset, "seed": self.seed,
        }  # fmt: skip

    def evaluation_changes_since(self, other: dict[str, Any]) -> list[str]:
        """Which modules evaluate otherwise than in an earlier identity: one short phrase each."""
        return _changed(self.evaluation, other.get("evaluation", {}))

    def changes_since(self, other: dict[str, Any]) -> list[str]:
        """What differs from an earlier identity, for people: one short phrase a difference."""
        changes = _changed(self.sources, other.get("sources", {}))
        if self.dataset != other.get("dataset"):
            changes.append("the dataset changed")
        before, now = dict(_leaves(other.get("config", {}))), dict(_leaves(self.config))
        changes += [
            f"{path}: {before.get(path, 'absent')} -> {now.get(path, 'absent')}"
            for path in sorted({*before, *now})
            if before.get(path, "absent") != now.get(path, "absent")
        ]
        return changes


def identify(spec: RunSpec, config: dict[str, Any], dataset_fingerprint: str) -> tuple[str, Identity]:
    """The ``run_id`` of a resolved config and what it rests on.

    A change in ``ltm_head.py`` changes the run ids of LTM alone; comments, docstrings and layout change none.
    """
    trained = _sources({key: value for key, value in config.items() if key not in EVALUATION_KEYS})
    evaluated = {name: code for name, code in _sources(config).items() if name not in trained}
    identity = Identity(_canonical(config), trained, evaluated, dataset_fingerprint, spec.seed)
    return f"{spec.method}-s{spec.seed}-{identity.digest()[:12]}", identity


def training_digest(identity: dict[str, Any]) -> str:
    """:meth:`Identity.training_digest` of an identity as kept in ``spec.json``."""
    config = {key: value for key, value in identity["config"].items() if key not in EVALUATION_KEYS}
    model = {key: value for key, value in config.get("model", {}).items() if key != "test_cfg"}
    if isinstance(model.get("bbox_head"), dict):
        model["bbox_head"] = {k: v for k, v in model["bbox_head"].items() if k != "score_voting"}
    trained = {
        "config": {**config, "model": model},
        **{key: identity[key] for key in ("sources", "dataset", "seed")},
    }
    return hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()


def _changed(now: dict[str, str], before: dict[str, str]) -> list[str]:
    return [
        f"{module.removeprefix('suite.').replace('.', '/')}.py changed"
        for module in sorted({*now, *before})
        if now.get(module) != before.get(module)
    ]


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items() if key not in NEUTRAL_KEYS}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return value


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, (dict, list)):
        yield path, value
    for key, item in items:
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


def _types(value: Any) -> Iterator[str]:
    """Every name that the config hands to a registry."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("type", "runner_type") and isinstance(item, str):
                yield item
            else:
                yield from _types(item)
    elif isinstance(value, list):
        for item in value:
            yield from _types(item)


def _sources(config: dict[str, Any]) -> dict[str, str]:
    modules = _modules()
    classes = {name: module for module, code in modules.items() for name in code.registered}
    used: set[str] = set()
    waiting = [classes[name] for name in _types(_canonical(config)) if name in classes]
    while waiting:
        module = waiting.pop()
        if module not in used:
            used.add(module)
            waiting += [name for name in modules[module].imports if name in modules]
    return {module: modules[module].digest for module in sorted(used)}


@dataclass(frozen=True)
class _Code:
    digest: str
    registered: frozenset[str]
    imports: frozenset[str]


@functools.cache
def _modules() -> dict[str, _Code]:
    """The modules below :data:`SOURCES`, read without importing them (they import torch)."""
    modules = {}
    for folder in SOURCES:
        for path in sorted((PACKAGE / folder).glob("**/*.py")):
            if path.stem != "__init__":
                name = ".".join(("suite", *path.relative_to(PACKAGE).with_suffix("").parts))
                modules[name] = _read(path)
    return modules


def _read(path: Path) -> _Code:
    tree = ast.parse(path.read_text())
    registered = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any("register_module" in ast.dump(decorator) for decorator in node.decorator_list)
    }
    imports = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imports.add(node.module)
            imports |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    digest = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
    return _Code(digest[:16], frozenset(registered), frozenset(imports))
