"""The identity of a run: everything that can change its numbers, and nothing else.

Three answers follow from a change:

- *Another run*: the resolved config, the code that trains, the data, the seed, the number of GPUs, the kind
  of device or the start weights have changed. The run id is another one.
- *Evaluated again*: code has changed that only evaluates. The run id stays; the result says by which code it
  was made (:attr:`Identity.evaluation`) and does not count any more.
- *Nothing*: paths, logging, loader workers, hooks that only watch, comments, docstrings, telemetry, reports.

Versions of torch, mmcv and mmdet, and the model of the GPU, are no part of it: an upgrade would train
hundreds of GPU days again for differences in rounding. They are recorded with each run, and plan and report
say where they differ (:mod:`suite.runs.environments`).
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suite.data.dataset import Dataset
from suite.files import sha256
from suite.runs.resources import Resources
from suite.runs.sources import file_of, sources
from suite.runs.spec import RunSpec
from suite.runs.weights import known_weights

FORMAT = 2
"""Raise it with what :class:`Identity` holds: identities of two formats cannot be compared."""

WATCHING_HOOKS = frozenset(
    {
        "RunLogHook", "AssignmentHook", "ValidationHook", "LatestCheckpointHook",
        "CheckpointHook", "LoggerHook", "IterTimerHook", "RuntimeInfoHook", "DetVisualizationHook",
        "MemoryProfilerHook", "EmptyCacheHook",
    }
)  # fmt: skip
"""Hooks that leave no trace in a training."""

_WATCHING_SLOTS = frozenset({"checkpoint", "logger", "timer", "runtime_info", "visualization"})
"""Keys of ``default_hooks`` that mmengine fills with such hooks."""

_NEUTRAL = frozenset(
    {
        "work_dir", "launcher", "log_level", "log_processor", "visualizer", "vis_backends",
        "experiment_name", "custom_imports",
    }
)  # fmt: skip
"""Keys of a config that change no number. The code behind ``custom_imports`` counts, not its list."""

_NEUTRAL_OF_LOADERS = frozenset({"num_workers", "persistent_workers", "prefetch_factor", "pin_memory"})
_PATHS = frozenset({"ann_file", "data_root", "data_prefix"})
"""What resolving writes into datasets and evaluators: their content counts, by the dataset's fingerprints."""

_EVALUATION_KEYS = frozenset({"test_cfg", "test_evaluator", "test_dataloader"})
"""Top-level keys of a config that only evaluate a trained detector."""

_EVALUATION_FIELDS = frozenset({"test_cfg", "score_voting"})
"""Fields of a model that its training does not read."""


@dataclass(frozen=True)
class Identity:
    """What a run's result depends on.

    Attributes:
        config: Canonical resolved config, without what changes no number; start weights by their content.
        training: Module -> hash of its code, of the modules that train.
        evaluation: The same of those that evaluate. They are no part of the ``run_id``.
        data: Fingerprints of the images and annotations: ``training`` and ``validation``.
        machine: :attr:`suite.runs.resources.Resources.identity`.
        seed: The run's seed.
        format: :data:`FORMAT`.
    """

    config: dict[str, Any]
    training: dict[str, str]
    evaluation: dict[str, str]
    data: dict[str, str]
    machine: dict[str, Any]
    seed: int
    format: int = FORMAT

    def digest(self) -> str:
        """SHA-256 over everything but the code that evaluates, in hexadecimal."""
        return _digest({key: value for key, value in self.as_dict().items() if key != "evaluation"})

    def training_digest(self) -> str:
        """SHA-256 over what the trained detector depends on: equal for runs that differ in testing alone."""
        return training_digest(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The identity as JSON values, as kept in ``spec.json``."""
        return asdict(self)

    def changes_since(self, other: Mapping[str, Any]) -> list[str]:
        """What differs from an earlier identity, for people: one short phrase per difference."""
        if other.get("format") != self.format:
            return ["an earlier version of the suite wrote its identity"]
        changes = changed_modules(self.training, other["training"])
        changes += [
            f"the {split} images or annotations changed"
            for split in self.data
            if self.data[split] != other["data"].get(split)
        ]
        for name, now, before in (
            ("", self.config, other["config"]),
            ("machine", self.machine, other["machine"]),
            ("seed", self.seed, other["seed"]),
        ):
            leaves, earlier = dict(_leaves(now, name)), dict(_leaves(before, name))
            changes += [
                f"{path}: {earlier.get(path, 'absent')} -> {leaves.get(path, 'absent')}"
                for path in sorted({*earlier, *leaves})
                if earlier.get(path, "absent") != leaves.get(path, "absent")
            ]
        return changes


def identify(
    spec: RunSpec, config: Mapping[str, Any], dataset: Dataset, resources: Resources
) -> tuple[str, Identity]:
    """The ``run_id`` of a resolved config and what it rests on.

    A change in ``ltm_head.py`` changes the run ids of LTM alone; comments, docstrings and layout change none.

    Args:
        spec: What is asked for.
        config: Its resolved config.
        dataset: What it trains and is evaluated on.
        resources: What it is given of a machine.
    """
    canonical = _canonical(config)
    trains, evaluates = _parts(canonical)
    imports = (config.get("custom_imports") or {}).get("imports", ())
    found = sources(trains, evaluates, [imports] if isinstance(imports, str) else imports)
    identity = Identity(
        canonical, found.training, found.evaluation,
        {"training": dataset.train.fingerprint, "validation": dataset.val.fingerprint},
        resources.identity, spec.seed,
    )  # fmt: skip
    return f"{spec.method}-s{spec.seed}-{identity.digest()[:12]}", identity


def training_digest(identity: Mapping[str, Any]) -> str:
    """:meth:`Identity.training_digest` of an identity as kept in ``spec.json``."""
    kept = {key: identity[key] for key in ("training", "machine", "seed", "format")}
    trains, _ = _parts(identity["config"])
    return _digest({**kept, "config": trains, "data": identity["data"]["training"]})


def changed_modules(now: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """Which modules differ between two times, as ``detectors/ltm_head.py changed``."""
    return [
        f"{file_of(name)} changed" for name in sorted({*now, *before}) if now.get(name) != before.get(name)
    ]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _parts(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A canonical config without what evaluates alone, and that."""
    trains = {key: value for key, value in config.items() if key not in _EVALUATION_KEYS}
    evaluates = {key: value for key, value in config.items() if key in _EVALUATION_KEYS}
    if isinstance(config.get("model"), dict):
        trains["model"] = _without(config["model"], _EVALUATION_FIELDS)
        evaluates["model.test_cfg"] = config["model"].get("test_cfg")
    return trains, evaluates


def _without(value: Any, fields: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, fields) for key, item in value.items() if key not in fields}
    return [_without(item, fields) for item in value] if isinstance(value, list) else value


def _canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved config as JSON values, without what changes no number."""
    kept = {key: _kept(key, value) for key, value in config.items() if key not in _NEUTRAL}
    plain: dict[str, Any] = _plain(kept)
    return plain


def _kept(key: str, value: Any) -> Any:
    """What counts of a top-level key's value."""
    if key == "load_from" and isinstance(value, str):
        return _weights(value)
    if key == "custom_hooks":
        return [hook for hook in value or () if not _watches(hook)]
    if not isinstance(value, Mapping):
        return value
    if key == "default_hooks":
        return {
            slot: hook
            for slot, hook in value.items()
            if not (_watches(hook) or (hook is None and slot in _WATCHING_SLOTS))
        }
    if key == "env_cfg":
        return {name: item for name, item in value.items() if name != "mp_cfg"}
    if key.endswith("_dataloader"):
        loader = {name: item for name, item in value.items() if name not in _NEUTRAL_OF_LOADERS}
        return {**loader, "dataset": _without_paths(value.get("dataset"))}
    return _without_paths(value) if key.endswith("_evaluator") else value


def _watches(hook: Any) -> bool:
    return isinstance(hook, Mapping) and str(hook.get("type")).rpartition(".")[2] in WATCHING_HOOKS


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key not in _PATHS}
    return value


def _plain(value: Any) -> Any:
    """The value as JSON would give it back, and pretrained weights by their content."""
    if isinstance(value, Mapping):
        plain = {str(key): _plain(item) for key, item in value.items()}
        if value.get("type") == "Pretrained" and isinstance(value.get("checkpoint"), str):
            plain["checkpoint"] = _weights(value["checkpoint"])
        return plain
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _weights(place: str) -> str:
    """Weights by their content; known ones by name and hash, those of a server or not here by their name.

    Known ones (:mod:`suite.runs.weights`) count alike whether their file is there or not.
    """
    if place in known_weights():
        return known_weights()[place].identity
    path = Path(place)
    if "://" in place or not path.is_file():
        return place
    state = path.stat()
    return f"sha256:{_hash_of_file(path.resolve(), state.st_size, state.st_mtime_ns)}"


@functools.cache
def _hash_of_file(path: Path, size: int, changed: int) -> str:
    """The file's hash, made again where its size or time has changed."""
    return sha256(path)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of everything in a config."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, (dict, list)):
        yield path, value
    for key, item in items:
        yield from _leaves(item, f"{path}.{key}" if path else str(key))
