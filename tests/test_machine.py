"""What the suite believes of the machine, the disk and the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite import cli, machine
from suite.errors import SuiteError
from suite.machine import cpu_count, git_commit, git_state, require_disk, require_linux, visible_gpus


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of control groups, on a host of 64 cores."""
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    return tmp_path / "cgroup"


def limit(group: Path, **files: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (group / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_a_command_on_another_system_says_so_and_does_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], system: str
) -> None:
    require_linux()
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(sys, "argv", ["suite", "plan"])
    monkeypatch.setattr(cli, "app", lambda: pytest.fail("went on"))
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert f"error: this system is '{system}': the suite runs on Linux only." in capsys.readouterr().err


def test_without_control_groups_the_affinity_counts(groups: Path) -> None:
    assert cpu_count() == 64


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 1.5), ("50000 100000", 1), ("max 100000", 64)],
)
def test_the_quota_of_a_container(groups: Path, quota: str, cores: float) -> None:
    limit(groups, cpu__max=quota)
    assert cpu_count() == cores


@pytest.mark.parametrize(("quota", "cores"), [("200000", 2), ("-1", 64), ("", 64)])
def test_the_quota_of_a_container_of_version_1(groups: Path, quota: str, cores: float) -> None:
    limit(groups / "cpu", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert cpu_count() == cores


def test_the_narrowest_quota_around_this_process_counts(groups: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("4:cpu,cpuacct:/jobs/7\n3:memory:/other\n0::/user/session\n")
    limit(groups / "user", cpu__max="800000 100000")
    limit(groups / "user" / "session", cpu__max="max 100000")
    assert cpu_count() == 8
    limit(groups / "cpu" / "jobs" / "7", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    limit(groups / "cpu" / "other", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    assert cpu_count() == 3


def test_a_path_of_the_host_inside_a_container(groups: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/docker/4711\n")
    limit(groups, cpu__max="400000 100000")
    assert cpu_count() == 4


def test_cpu_count_of_this_machine() -> None:
    assert 1 <= cpu_count() <= len(os.sched_getaffinity(0))


def test_visible_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA A100 (UUID: x)'\necho 'GPU 1: NVIDIA A100 (UUID: y)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool.unlink()
    assert visible_gpus() == []


def test_a_driver_that_hangs_shows_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "_ANSWER_SECONDS", 0.2)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []


def test_runs_fit_on_the_disk_with_a_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_disk_mb", lambda folder: 1000.0)
    require_disk(tmp_path, 500, "4 runs", "Free disk space.")
    with pytest.raises(SuiteError, match="1000 MB free, and 4 runs need about 1001 MB") as caught:
        require_disk(tmp_path, 501, "4 runs", "Free disk space.")
    assert caught.value.remedy == "Free disk space."


def test_the_state_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    nothing = {"commit": None, "dirty": None}
    assert (git_state(tmp_path / "absent"), git_commit(tmp_path / "absent")) == (nothing, None)
    git("init", "--quiet")
    assert (git_state(tmp_path), git_commit(tmp_path)) == (nothing, None)  # no commit yet
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "-m", "one")
    commit = git("rev-parse", "HEAD").strip()
    (tmp_path / "untracked").write_text("2")
    assert (git_state(tmp_path), git_commit(tmp_path)) == ({"commit": commit, "dirty": False}, commit[:12])
    (tmp_path / "file").write_text("2")
    assert git_state(tmp_path)["dirty"] is True
    assert git_commit(tmp_path) == f"{commit[:12]}-dirty"
