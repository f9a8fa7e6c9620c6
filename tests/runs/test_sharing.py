"""Taking over a training: whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.files import read_json
from suite.runs import sharing
from suite.runs.directory import RunDirectory
from suite.runs.sharing import epoch_at, forget_donor, kept_checkpoint, take_over, trained_by


@pytest.fixture
def donor(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "donor")
    run.checkpoint_file.parent.mkdir(parents=True)
    run.checkpoint_file.write_bytes(b"weights")
    run.metrics_file.write_text('{"step": 1}\n')
    run.assignment_file.write_text('{"step": 0}\n')
    run.log_file.write_text("printed")
    return run


@pytest.fixture
def taker(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "taker")


def files(run: RunDirectory) -> set[str]:
    return {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}


def test_it_takes_the_logs_and_the_checkpoint(donor: RunDirectory, taker: RunDirectory) -> None:
    take_over(donor, taker)
    assert files(taker) == {
        "environment.json", "metrics.jsonl", "assignment.jsonl", "trained_by.json", "checkpoints/latest.pth",
    }  # fmt: skip
    assert taker.checkpoint_file.samefile(donor.checkpoint_file)
    assert taker.metrics_file.read_text() == donor.metrics_file.read_text()
    assert trained_by(taker) == "donor" and trained_by(donor) is None


def test_it_takes_the_checkpoints_that_were_kept_of_earlier_epochs(
    donor: RunDirectory, taker: RunDirectory
) -> None:
    kept = donor.checkpoint_file.with_name(kept_checkpoint(epoch_at(0.5, 8)))
    kept.write_bytes(b"earlier")
    take_over(donor, taker)
    assert taker.checkpoint_file.with_name("epoch_4.pth").samefile(kept)
    assert taker.checkpoint_file.samefile(donor.checkpoint_file)


def test_a_log_appended_to_later_is_not_the_donors(donor: RunDirectory, taker: RunDirectory) -> None:
    take_over(donor, taker)
    with taker.metrics_file.open("a") as stream:
        stream.write("more")
    assert donor.metrics_file.read_text() == '{"step": 1}\n'


def test_a_training_taken_over_twice_is_still_the_first_runs(
    donor: RunDirectory, taker: RunDirectory, tmp_path: Path
) -> None:
    take_over(donor, taker)
    third = RunDirectory(tmp_path / "third")
    take_over(taker, third)
    assert trained_by(third) == "donor"
    forget_donor(third)
    assert trained_by(third) is None


def test_without_hard_links_it_copies(
    donor: RunDirectory, taker: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(sharing.os, "link", refuse)
    take_over(donor, taker)
    assert taker.checkpoint_file.read_bytes() == b"weights"
    assert not taker.checkpoint_file.samefile(donor.checkpoint_file)


def test_a_disk_that_is_full_leaves_no_checkpoint(
    donor: RunDirectory, taker: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: Path, target: Path) -> None:
        target.write_bytes(b"wei")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sharing.os, "link", half)
    monkeypatch.setattr(sharing.shutil, "copyfile", half)
    with pytest.raises(SuiteError, match=r"cannot take over the checkpoint of donor \(No space left"):
        take_over(donor, taker)
    assert list(taker.checkpoint_file.parent.iterdir()) == []


def test_a_donor_without_a_checkpoint_is_named(donor: RunDirectory, taker: RunDirectory) -> None:
    donor.checkpoint_file.unlink()
    with pytest.raises(SuiteError, match="cannot take over the checkpoint of donor"):
        take_over(donor, taker)


SLOW_COPY = """
import os, sys, time
from pathlib import Path
from suite.runs.directory import RunDirectory
from suite.runs import sharing

def link(*arguments):
    raise OSError("no links here")

def copyfile(source, target):
    Path(target).write_bytes(b"wei")
    print("half", flush=True)
    time.sleep(60)

sharing.os.link, sharing.shutil.copyfile = link, copyfile
sharing.take_over(RunDirectory(Path(sys.argv[1])), RunDirectory(Path(sys.argv[2])))
"""


def test_killed_half_way_it_leaves_no_checkpoint_and_can_be_done_again(
    donor: RunDirectory, taker: RunDirectory
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_COPY, str(donor.path), str(taker.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not taker.checkpoint_file.exists()
    take_over(donor, taker)
    assert taker.checkpoint_file.read_bytes() == b"weights"
    assert read_json(taker.path / sharing.TRAINED_BY) == {"run_id": "donor"}
