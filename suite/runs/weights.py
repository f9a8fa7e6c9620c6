"""Pretrained weights: which files the configs start from, where they are kept, and whether they are right.

Configs name weights (``torchvision://resnet50``), and a run is identified by that name and the file's known
SHA-256. The file itself lies in one folder (:attr:`suite.workspace.Workspace.weights`). Only the
``config.py`` that trains names the local file, so neither mmdet nor a node of a cluster fetches anything. The
files are listed in ``weights.yaml``.
"""

import contextlib
import functools
import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from suite.errors import SuiteError, nearest
from suite.files import read_json, sha256, write_json
from suite.runs.sources import PACKAGE, code_digest

TABLE = Path(__file__).with_name("weights.yaml")
RANDOM = "suite: random numbers in place of pretrained weights"
"""Stands in files of random numbers that a rehearsal starts from."""

_LOOKED_UP_BY_MMENGINE = ("torchvision://", "modelzoo://")
"""Names that mmengine asks the package torchvision about, which the suite does without."""

_CHECKED = "checked.json"
"""In the folder of weights: file -> size, time of change and SHA-256."""


@dataclass(frozen=True)
class Weights:
    """Pretrained weights that the project knows.

    Attributes:
        name: How configs name them.
        file: The file's name in the folder of weights.
        urls: Where they are offered, in the order in which they are tried; empty where they are made here.
        sha256: Of the file, in hexadecimal; its beginning, or empty, where no more is published.
        megabytes: Size of the file, about, in MB.
        convert: ``detectron`` if what is offered has Detectron's names and is converted; else empty.
        backbone: Config of mmdet's model whose parameters the file holds.
        extra: Parameters in the file that this model has not: name -> shape.
        made_by: Files of the package whose code makes them here; empty where they are downloaded.
    """

    name: str
    file: str
    urls: Sequence[str]
    megabytes: int
    backbone: Mapping[str, Any]
    sha256: str = ""
    convert: str = ""
    extra: Mapping[str, Sequence[int]] = field(default_factory=dict)
    made_by: Sequence[str] = ()

    @property
    def offered(self) -> str:
        """Name of the file that the servers offer."""
        return PurePosixPath(self.urls[0]).name

    @property
    def identity(self) -> str:
        """What a run's identity has of them, whether the file is there or not."""
        if self.made_by:
            digests = [code_digest(PACKAGE / file) for file in self.made_by]
            return f"{self.name} made by {hashlib.sha256(' '.join(digests).encode()).hexdigest()[:16]}"
        return f"{self.name} sha256:{self.sha256[:8]}" if self.sha256 else self.name


@functools.cache
def known_weights() -> Mapping[str, Weights]:
    """All weights of ``weights.yaml``, by name."""
    table = yaml.safe_load(TABLE.read_text())
    return {name: Weights(name=name, **entry) for name, entry in table.items()}


def weights_named(name: str) -> Weights:
    """Known weights by their name.

    Raises:
        SuiteError: There are none of this name.
    """
    if name not in known_weights():
        raise SuiteError(
            f"pretrained weights {name!r} are unknown.{nearest(name, known_weights())}",
            f"Known: {', '.join(known_weights())}. Or give the path of a file.",
        )
    return known_weights()[name]


def start_weights(config: Any) -> list[str]:
    """Everything that a config's training starts from, each once: names of weights, and paths."""
    found = dict.fromkeys(_pretrained(config))
    if isinstance(config, Mapping) and isinstance(config.get("load_from"), str):
        found[config["load_from"]] = None
    return list(found)


def _pretrained(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if value.get("type") == "Pretrained" and isinstance(value.get("checkpoint"), str):
            yield value["checkpoint"]
        for item in value.values():
            yield from _pretrained(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _pretrained(item)


def is_random(path: Path) -> bool:
    """Whether a file holds the random numbers of a rehearsal (:data:`RANDOM` stands in it)."""
    return _says(path, RANDOM)


def _says(path: Path, text: str) -> bool:
    """Whether a file of weights has a text among its values. Nothing in it is executed."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return any(text.encode() in archive.read(name) for name in pickles)
    except (OSError, zipfile.BadZipFile):
        return False


@dataclass(frozen=True)
class WeightStore:
    """The folder of weights.

    Attributes:
        folder: Where the files lie; need not exist.
        random: Take files of random numbers too, as a rehearsal does.
    """

    folder: Path
    random: bool = False

    def path(self, name: str) -> Path:
        """Where weights lie, or belong."""
        return self.folder / weights_named(name).file

    def problem(self, name: str) -> str:
        """Why a training cannot start from what a config names; empty if it can.

        Args:
            name: A name of weights, or a path. What other servers offer by URL is mmengine's to fetch.
        """
        if name not in known_weights():
            if name.startswith(_LOOKED_UP_BY_MMENGINE):
                return "unknown to the suite"
            return "" if "://" in name or Path(name).is_file() else "no such file"
        weights, path = weights_named(name), self.path(name)
        if not path.is_file():
            return "not made yet" if weights.made_by else f"not in {self.folder}"
        if weights.made_by:
            return "" if _says(path, weights.identity) else f"{path} was made by other code"
        if is_random(path):
            return "" if self.random else f"{path} holds random numbers for a rehearsal"
        found = self._sha256(path)
        if not found.startswith(weights.sha256):
            return f"{path} is another file: SHA-256 {found[:16]}..., expected {weights.sha256[:16]}"
        return ""

    def missing(self, names: Iterable[str]) -> dict[str, str]:
        """Of what configs name, that from which no training can start, with the reason."""
        problems = {name: self.problem(name) for name in dict.fromkeys(names)}
        return {name: problem for name, problem in problems.items() if problem}

    def made_here(self, name: str) -> bool:
        """Whether the first command that trains makes these weights, without a network."""
        return name in known_weights() and bool(weights_named(name).made_by)

    def remedy(self, name: str) -> str:
        """What mends a problem with weights, also without a network."""
        if name not in known_weights():
            if name.startswith(_LOOKED_UP_BY_MMENGINE):
                return f"Known: {', '.join(known_weights())}. Or name the path of a file in init_cfg."
            return "Put the file there, or correct init_cfg or load_from."
        weights = weights_named(name)
        if weights.made_by:
            return (
                f"`suite weights --names {name}` makes it in a minute; so does the first command that trains."
            )
        by_hand = f"without a network put {weights.offered}, from {weights.urls[0]}"
        if weights.convert:
            by_hand += f", into a folder and convert it: `suite weights --names {name} --from FOLDER`"
            return f"Run `suite weights --names {name}`; {by_hand}."
        check = f"SHA-256 {weights.sha256}" + ("..." if len(weights.sha256) < 64 else "")
        return f"Run `suite weights --names {name}`; {by_hand} ({check}), at {self.path(name)}."

    def localised(self, config: Any) -> Any:
        """A copy of a config with the paths of the local files in place of known names."""
        if isinstance(config, Mapping):
            local = {key: self.localised(value) for key, value in config.items()}
            if config.get("type") == "Pretrained" and config.get("checkpoint") in known_weights():
                local["checkpoint"] = str(self.path(config["checkpoint"]).resolve())
            return local
        if isinstance(config, (list, tuple)):
            return type(config)([self.localised(value) for value in config])
        return config

    def _sha256(self, path: Path) -> str:
        """A file's hash; made anew where its size or time has changed."""
        memory, state = self.folder / _CHECKED, path.stat()
        key = [state.st_size, state.st_mtime_ns]
        try:
            remembered: dict[str, Any] = read_json(memory) if memory.exists() else {}
            if remembered[path.name][:2] == key:
                return str(remembered[path.name][2])
        except (SuiteError, KeyError, TypeError, IndexError):
            remembered = {}
        found = sha256(path)
        with contextlib.suppress(SuiteError):  # others' folder, which cannot be written: hashed each time
            write_json(memory, {**remembered, path.name: [*key, found]})
        return found
