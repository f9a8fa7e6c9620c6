"""One training for several runs: a run that differs from another in its evaluation alone takes it over."""

import contextlib
import os
import shutil
from pathlib import Path

from suite.errors import SuiteError
from suite.files import read_json, write_atomically, write_json
from suite.runs.directory import RunDirectory
from suite.runs.environments import read_environments

TRAINED_BY = "trained_by.json"
"""File of a run directory that names the run whose training it has; absent in a run that trained itself."""


def epoch_at(share: float, epochs: int) -> int:
    """The epoch, from 1, that ends nearest to a share of a schedule."""
    return max(1, round(share * epochs))


def kept_checkpoint(epoch: int) -> str:
    """File name of the checkpoint that is kept of an epoch, from 1, before the last one."""
    return f"epoch_{epoch}.pth"


def share_file(source: Path, target: Path) -> None:
    """Give a file that is never written in place a second name: a hard link or, on another disk, a copy.

    Raises:
        OSError: The target exists already or cannot be written.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)
        with target.open("rb") as stream:
            os.fsync(stream.fileno())


def take_over(donor: RunDirectory, run: RunDirectory) -> None:
    """Give ``run`` the logs and the checkpoints of ``donor``, so that its worker only evaluates.

    The last checkpoint comes last, each whole, as a hard link or, on another disk, a copy: what is
    interrupted before leaves a run without a checkpoint, which trains itself or takes over again. A hard link
    is safe as a checkpoint is never written in place.

    Raises:
        SuiteError: A file cannot be read or written.
    """
    trained = read_environments(donor)
    write_json(run.environment_file, {"training": trained["training"], "dataset": trained["dataset"]})
    for log in donor.path.glob("*.jsonl"):
        write_atomically(run.path / log.name, log.read_bytes())
    write_json(run.path / TRAINED_BY, {"run_id": trained_by(donor) or donor.run_id})
    target = run.checkpoint_file
    temporary = target.with_name(f".{target.name}.shared")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for file in [*donor.checkpoint_file.parent.glob("epoch_*.pth"), donor.checkpoint_file]:
            temporary.unlink(missing_ok=True)
            share_file(file, temporary)
            os.replace(temporary, target.with_name(file.name))
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise SuiteError(
            f"{target}: cannot take over the checkpoint of {donor.run_id} ({error.strerror}).",
            "Free disk space or make the folder writable, then start again.",
        ) from error


def trained_by(run: RunDirectory) -> str | None:
    """The run whose training ``run`` has taken over, or None."""
    file = run.path / TRAINED_BY
    return str(read_json(file)["run_id"]) if file.exists() else None


def forget_donor(run: RunDirectory) -> None:
    """Note that ``run`` trains itself after all."""
    (run.path / TRAINED_BY).unlink(missing_ok=True)
