"""Which checkpoints are taken up, put aside or refused."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from suite.errors import SuiteError
from suite.runs.directory import RunDirectory
from suite.training.checkpoint import Trained, read_checkpoint

CONTENT = {
    "meta": {"epoch": 3, "iter": 27},
    "state_dict": {"weight": torch.arange(5000.0)},
    "optimizer": {},
    "message_hub": {},
    "run_log": {"train_seconds": 12.5},
}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with a whole checkpoint."""
    found = RunDirectory(tmp_path / "run")
    found.checkpoint_file.parent.mkdir(parents=True)
    torch.save(CONTENT, found.checkpoint_file)
    return found


def names(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in run.checkpoint_file.parent.iterdir())


def test_a_checkpoint_says_what_is_behind_it(run: RunDirectory, tmp_path: Path) -> None:
    assert read_checkpoint(run) == Trained(epoch=3, steps=27, seconds=12.5)
    assert read_checkpoint(RunDirectory(tmp_path / "new")) == Trained(0, 0, 0.0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: bytes(len(content)),  # what some file systems leave after a loss of power
        lambda content: content.replace(b"\x80\x02}", b"\x80\xff}", 1),  # the start of the pickle
    ],
    ids=["half", "all but a byte", "empty", "zeros", "a byte"],
)
def test_damaged_files_are_put_aside_and_overwrite_none(
    damage: Callable[[bytes], bytes], run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = damage(run.checkpoint_file.read_bytes())
    for aside in ("latest.pth.corrupt", "latest.pth.corrupt-2", "latest.pth.corrupt-3"):
        run.checkpoint_file.write_bytes(damaged)
        assert read_checkpoint(run) == Trained()
        assert f"kept as {aside}; training anew" in capsys.readouterr().out
        assert run.checkpoint_file.with_name(aside).read_bytes() == damaged
    assert names(run) == ["latest.pth.corrupt", "latest.pth.corrupt-2", "latest.pth.corrupt-3"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, os.strerror(errno.EIO)),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        MemoryError(),
        ModuleNotFoundError("No module named 'numpy._core'"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        AttributeError("Can't get attribute 'ConfigDict'"),
        pickle.UnpicklingError("persistent IDs must be ASCII strings"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_machines_errors_leave_a_whole_file_alone(
    error: Exception, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(SuiteError, match=r"latest\.pth: cannot load the checkpoint") as caught:
        read_checkpoint(run)
    assert (str(error) or "MemoryError") in caught.value.message
    assert "left as it is" in str(caught.value.remedy)
    assert names(run) == ["latest.pth"]


def test_a_disk_that_fails_while_damage_is_looked_for_leaves_the_file(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch raises an OSError for an archive cut short too."""
    run.checkpoint_file.write_bytes(run.checkpoint_file.read_bytes()[:1000])

    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(SuiteError, match="Input/output error"):
        read_checkpoint(run)
    assert names(run) == ["latest.pth"]


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        ({"state_dict": {}}, "meta, optimizer, message_hub, run_log"),
        ({**CONTENT, "meta": {"epoch": 12}}, "meta.iter"),
        ({name: part for name, part in CONTENT.items() if name != "optimizer"}, "optimizer"),
        (torch.zeros(3), "meta, state_dict, optimizer, message_hub, run_log"),
        (None, "meta, state_dict, optimizer, message_hub, run_log"),
    ],
)
def test_somebody_elses_checkpoint_is_refused_and_left(content: Any, lacks: str, run: RunDirectory) -> None:
    torch.save(content, run.checkpoint_file)
    with pytest.raises(SuiteError, match=rf"not a checkpoint of this run \(it lacks {lacks}\)") as caught:
        read_checkpoint(run)
    assert "Move the file away" in str(caught.value.remedy)
    assert names(run) == ["latest.pth"]


class Config(dict):
    """Stands for a class of somebody else's package."""


def test_a_published_checkpoint_of_another_format_is_refused_and_left(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zoos hold files that torch wrote before 1.6: pickles, and no zip archives."""
    content = {"meta": {"epoch": 12, "iter": 87960, "config": Config()}, "state_dict": {}}
    torch.save(content, run.checkpoint_file, _use_new_zipfile_serialization=False)
    with pytest.raises(SuiteError, match=r"it lacks optimizer, message_hub, run_log") as caught:
        read_checkpoint(run)
    assert "suite adopt METHOD FILE" in str(caught.value.remedy)
    monkeypatch.delattr("test_checkpoint.Config")
    with pytest.raises(SuiteError, match=r"cannot load the checkpoint \(Can't get attribute 'Config'"):
        read_checkpoint(run)
    assert names(run) == ["latest.pth"]
