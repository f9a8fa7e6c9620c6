"""What a run finds as its checkpoint: its own one, a damaged one that it puts aside, or somebody else's."""

import io
import itertools
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from suite.errors import SuiteError
from suite.runs.directory import RunDirectory

_ADOPT = "A detector that others trained is evaluated by `suite adopt METHOD FILE`."
_PICKLE = b"\x80"
"""Start of a pickle, as torch wrote before 1.6 and this program never does."""

_PARTS = ("meta", "state_dict", "optimizer", "message_hub", "run_log")


class _PutAside(Exception):
    """The checkpoint was damaged, and has another name now."""


@dataclass(frozen=True)
class Trained:
    """How far a run had come when its checkpoint was written.

    Attributes:
        epoch: Epochs done; 0 without a checkpoint.
        steps: Steps done.
        seconds: Time that the training took, in seconds.
    """

    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0


def read_checkpoint(run: RunDirectory) -> Trained:
    """How far the run had come when its checkpoint was written: nowhere if there is none.

    A damaged file is put aside as ``latest.pth.corrupt`` with a notice, or as ``latest.pth.corrupt-2`` and so
    on where there is one already.

    Raises:
        SuiteError: The machine cannot read the file, which may be whole; or it is not a checkpoint of this
            run. It stays where it is.
    """
    path = run.checkpoint_file
    try:
        content = _load(path)
    except (FileNotFoundError, NotADirectoryError, _PutAside):
        return Trained()
    except Exception as error:
        raise SuiteError(
            f"{path}: cannot load the checkpoint ({first_line(error)}).",
            "The file is left as it is. Mend the cause and start the run again; to train anew, move the file "
            f"away. {_ADOPT}",
        ) from error
    if lacking := _lacking(content):
        raise SuiteError(
            f"{path}: not a checkpoint of this run (it lacks {', '.join(lacking)}).",
            f"Move the file away: the run then trains from the start. {_ADOPT}",
        )
    meta = content["meta"]
    return Trained(int(meta["epoch"]), int(meta["iter"]), float(content["run_log"]["train_seconds"]))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's type if it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _load(path: Path) -> Any:
    """The content of a checkpoint; puts a damaged one aside."""
    try:
        # Written by this program: more than weights is in it (schedulers, the message hub).
        return torch.load(path, map_location="cpu", weights_only=False)
    except (FileNotFoundError, NotADirectoryError, MemoryError, ImportError):
        raise
    # A damaged file fails in as many ways as pickle and zip have, one cut short even by an OSError, as a disk
    # does. So the file itself is looked at: whether it can be read, and whether it is whole.
    except Exception as error:
        content = path.read_bytes()
        if _is_whole(content) or content.startswith(_PICKLE):
            raise
        aside = _free_name(path)
        os.replace(path, aside)
        print(f"notice: {path} is damaged ({first_line(error)}); kept as {aside.name}; training anew")
        raise _PutAside from error


def _lacking(content: Any) -> list[str]:
    """What a file that could be loaded does not have, but every checkpoint of a run has."""
    parts = content if isinstance(content, dict) else {}
    meta = parts.get("meta")
    counts = [f"meta.{name}" for name in ("epoch", "iter") if isinstance(meta, dict) and name not in meta]
    return [name for name in _PARTS if name not in parts] + counts


def _is_whole(content: bytes) -> bool:
    """Whether a file's content is a zip archive, as torch writes, with the checksums it was written with."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except Exception:
        return False


def _free_name(path: Path) -> Path:
    ends = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    names = (path.with_name(f"{path.name}.corrupt{end}") for end in ends)
    return next(name for name in names if not os.path.lexists(name))
