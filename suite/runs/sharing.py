"""One training for several runs: a run that differs from another in its evaluation alone takes it over."""

import contextlib
import os
import shutil

from suite.errors import SuiteError
from suite.files import read_json, write_atomically, write_json
from suite.runs.directory import RunDirectory
from suite.runs.environments import read_environments

TRAINED_BY = "trained_by.json"
"""File of a run directory that names the run whose training it has; absent in a run that trained itself."""


def take_over(donor: RunDirectory, run: RunDirectory) -> None:
    """Give ``run`` the logs and the last checkpoint of ``donor``, so that its worker only evaluates.

    The checkpoint comes last and whole, as a hard link or, on another disk, a copy: what is interrupted
    before leaves a run without a checkpoint, which trains itself or takes over again. A hard link is safe as
    a checkpoint is never written in place.

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
        temporary.unlink(missing_ok=True)
        try:
            os.link(donor.checkpoint_file, temporary)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(donor.checkpoint_file, temporary)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        os.replace(temporary, target)
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
