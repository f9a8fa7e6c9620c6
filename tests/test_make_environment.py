"""The set-up with a fake environment: a ``python`` that plays pip and the verifications."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import make_environment
import pytest
from make_environment import Compilation, Setup, SetupError, remedy_for

PROJECT = Path(__file__).resolve().parent.parent

# Plays `.venv/bin/python`. Appends what it is asked to calls.jsonl; obeys the files beside it:
# broken-operators (what the operators' check says until pip runs with --no-cache-dir), fail-<word> (pip fails
# when an argument contains the word), slow (pip takes a minute), gpu (torch sees a GPU), index-with-cuda (the
# torch that pip installs sees it).
FAKE = r"""
import json, os, re, sys, time
from pathlib import Path
NAMES = ("MMCV_WITH_OPS", "MAX_JOBS", "FORCE_CUDA", "TORCH_CUDA_ARCH_LIST")
venv = Path(__file__).parent
packages = venv / "lib" / "python3.11" / "site-packages"
arguments = sys.argv[1:]
if arguments[0] == "-c":
    code = arguments[1]
    if "torch.cuda.is_available())" in code and "SystemExit" in code:
        sys.exit(not (venv / "gpu").exists())
    if "assert torch.cuda.is_available()" in code and not (venv / "gpu").exists():
        sys.exit("AssertionError: torch 2.13.0, built for CUDA None, sees no GPU")
    broken = venv / "broken-operators"
    if "_ext*.so" in code and (broken.exists() or not list(packages.glob("onedl_mmcv-*"))):
        sys.exit("ImportError: undefined symbol")
    sys.exit(0)
if arguments[2:] == ["--version"]:
    sys.exit(0)
with (venv / "calls.jsonl").open("a") as stream:
    chosen = {k: os.environ[k] for k in NAMES if k in os.environ}
    stream.write(json.dumps([arguments[3:], chosen]) + "\n")
if (venv / "slow").exists():
    time.sleep(60)
for rule in venv.glob("fail-*"):
    if any(rule.name[5:] in argument for argument in arguments):
        print(rule.read_text())
        sys.exit(1)
if "--no-cache-dir" in arguments and not (venv / "hopeless").exists():
    (venv / "broken-operators").unlink()
for argument in arguments:
    found = re.match(r"([\w-]+)==([\w.]+)(,.*)?$", argument)
    if found and found[1] == "torch":
        for old in packages.glob("torch-*.dist-info"):
            old.rmdir()
        if (venv / "index-with-cuda").exists():
            (venv / "gpu").touch()
    if found:
        (packages / f"{found[1].replace('-', '_')}-{found[2]}.dist-info").mkdir(exist_ok=True)
"""


class Checkout:
    """A project folder with a fake ``.venv``."""

    def __init__(self, root: Path) -> None:
        self.venv = root / ".venv"
        (self.venv / "bin").mkdir(parents=True)
        (self.venv / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        (self.venv / "pyvenv.cfg").write_text("version = 3.11.7\n")
        (self.venv / "fake.py").write_text(FAKE)
        python = self.venv / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -S {self.venv}/fake.py "$@"\n')
        python.chmod(0o755)
        for name in ("constraints.txt", "pyproject.toml"):
            (root / name).write_text((PROJECT / name).read_text())
        self.said: list[str] = []
        self.root = root

    def run(self) -> None:
        Setup(self.root, self.said.append).run()

    def calls(self) -> list[tuple[list[str], dict[str, str]]]:
        """pip's arguments and environment, each time it was called."""
        path = self.venv / "calls.jsonl"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def have(self, *packages: str) -> None:
        for package in packages:
            (self.venv / "lib" / "python3.11" / "site-packages" / f"{package}.dist-info").mkdir()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    for name in (
        "TORCH_INDEX",
        "MAX_JOBS",
        "CXX",
        "CUDA_HOME",
        "CUDA_VISIBLE_DEVICES",
        "TORCH_CUDA_ARCH_LIST",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=os.pathsep)
    smi = tmp_path / "programs" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text('#!/bin/sh\ntest "$1" = --query-gpu=name,compute_cap && cat "$(dirname "$0")/gpus"\n')
    smi.chmod(0o755)
    return Checkout(tmp_path)


def plug_in(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs for nvidia-smi, and a CUDA toolkit."""
    (checkout.root / "programs" / "gpus").write_text("NVIDIA H200, 9.0\nTesla V100-SXM2-16GB, 7.0\n")
    toolkit = checkout.root / "cuda" / "bin"
    toolkit.mkdir(parents=True)
    (toolkit / "nvcc").touch()
    monkeypatch.setenv("CUDA_HOME", str(toolkit.parent))


def test_where_there_is_a_gpu_torch_for_the_cpu_is_replaced(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(checkout, monkeypatch)
    checkout.have("torch-2.13.0+cpu")
    (checkout.venv / "index-with-cuda").touch()
    checkout.run()
    assert ["torch==2.13.0,!=2.13.0+cpu"] in [call[0][2:] for call in checkout.calls()]
    mmcv = next(call[1] for call in checkout.calls() if "onedl-mmcv==2.3.6" in call[0])
    assert (mmcv["FORCE_CUDA"], mmcv["TORCH_CUDA_ARCH_LIST"]) == ("1", "7.0;9.0")
    said = "\n".join(checkout.said)
    assert "2 x NVIDIA H200, Tesla V100-SXM2-16GB: torch with CUDA" in said
    assert "mmcv      for the CPU and for GPUs of compute capability 7.0;9.0" in said


def test_where_there_is_a_gpu_a_torch_that_sees_it_is_kept(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(checkout, monkeypatch)
    checkout.have("torch-2.9.1+cu130")
    (checkout.venv / "gpu").touch()
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0+PTX")
    checkout.run()
    assert not [call for call in checkout.calls() if any(one.startswith("torch==") for one in call[0])]
    mmcv = next(call[1] for call in checkout.calls() if "onedl-mmcv==2.3.6" in call[0])
    assert mmcv["TORCH_CUDA_ARCH_LIST"] == "8.0+PTX"


def test_an_index_without_cuda_is_named_where_there_is_a_gpu(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(checkout, monkeypatch)
    with pytest.raises(SetupError, match=r"built for CUDA None, sees no GPU(?s:.)*TORCH_INDEX=<index>"):
        checkout.run()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_not_set_up_for(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    plug_in(checkout, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    checkout.run()
    assert ["torch==2.13.0"] in [call[0][2:] for call in checkout.calls()]
    assert "  mmcv      for the CPU alone" in checkout.said


def test_steps_run_in_order_and_once(checkout: Checkout) -> None:
    checkout.run()
    tools, torch, mmcv, packages = checkout.calls()
    assert "setuptools==" in tools[0][2]
    assert torch[0][2:] == ["torch==2.13.0"]
    assert "--no-build-isolation" in mmcv[0] and "onedl-mmcv==2.3.6" in mmcv[0]
    assert mmcv[1]["MMCV_WITH_OPS"] == "1" and int(mmcv[1]["MAX_JOBS"]) >= 1 and "FORCE_CUDA" not in mmcv[1]
    assert f"{checkout.root}[all,dev]" in packages[0]
    checkout.run()
    assert len(checkout.calls()) == 4
    assert checkout.said[-1] == ".venv is up to date."


def test_a_finished_setup_starts_no_process(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.run()
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    started = time.monotonic()
    checkout.run()
    assert time.monotonic() - started < 0.1


def test_what_works_is_adopted(checkout: Checkout) -> None:
    checkout.have("torch-2.9.1+cu130", "onedl_mmcv-2.3.6")
    checkout.run()
    assert [call[0][-1] for call in checkout.calls() if "torch" in call[0][-1].split("==")[0]] == []
    assert len(checkout.calls()) == 2  # tools, packages
    constraints = (checkout.venv / "setup-logs" / "constraints.txt").read_text()
    assert re.search(r"^torch==2\.9\.1\+cu130$", constraints, re.MULTILINE)


def test_an_old_torch_is_replaced(checkout: Checkout) -> None:
    checkout.have("torch-1.13.1")
    checkout.run()
    assert ["torch==2.13.0"] in [call[0][2:] for call in checkout.calls()]


def test_torch_index_is_used_for_torch_alone(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_INDEX", "file:///index")
    checkout.run()
    with_index = [call[0] for call in checkout.calls() if "file:///index" in call[0]]
    assert [arguments[2] for arguments in with_index] == ["torch==2.13.0"]


def test_a_cached_build_without_operators_is_built_again(checkout: Checkout) -> None:
    (checkout.venv / "broken-operators").touch()
    checkout.run()
    builds = [call[0] for call in checkout.calls() if "onedl-mmcv==2.3.6" in call[0]]
    assert len(builds) == 2
    assert not {"--no-cache-dir", "--force-reinstall", "--no-deps"} & set(builds[0])
    assert {"--no-cache-dir", "--force-reinstall", "--no-deps"} <= set(builds[1])
    assert any("compiling it anew" in line for line in checkout.said)


def test_operators_that_never_work_are_an_error_with_the_log(checkout: Checkout) -> None:
    (checkout.venv / "broken-operators").touch()
    (checkout.venv / "hopeless").touch()
    with pytest.raises(SetupError, match=r"undefined symbol(?s:.)*setup-logs/mmcv\.log"):
        checkout.run()
    assert "mmcv" not in json.loads((checkout.venv / "setup-stamps.json").read_text())


def test_a_failure_shows_the_logs_end_and_goes_on_there(checkout: Checkout) -> None:
    rule = checkout.venv / "fail-onedl"
    rule.write_text("error: command '/usr/bin/g++' failed with exit code 1")
    with pytest.raises(SetupError) as caught:
        checkout.run()
    assert "g++' failed" in str(caught.value)
    assert "setup-logs/mmcv.log" in str(caught.value)
    assert "compiler's first error" in str(caught.value)
    rule.unlink()
    checkout.run()
    assert sum("torch==2.13.0" in call[0] for call in checkout.calls()) == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "again"),
    [
        ("pyproject.toml", "ruff", "ruff>=0.1", ["packages"]),
        ("constraints.txt", "rich==", "rich==1", ["packages"]),
        ("constraints.txt", "onedl-mmcv==2.3.6", "onedl-mmcv==2.3.7", ["mmcv", "packages"]),
    ],
)
def test_a_change_repeats_only_what_depends_on_it(
    checkout: Checkout, file: str, old: str, new: str, again: list[str]
) -> None:
    checkout.run()
    before = len(checkout.calls())
    path = checkout.root / file
    path.write_text(path.read_text().replace(old, new, 1))
    checkout.run()
    calls = [" ".join(call[0]) for call in checkout.calls()[before:]]
    assert ["mmcv" if "onedl-mmcv==" in call else "packages" for call in calls] == again


def test_another_torch_makes_mmcv_suspect(checkout: Checkout) -> None:
    checkout.run()
    packages = checkout.venv / "lib" / "python3.11" / "site-packages"
    (packages / "torch-2.13.0.dist-info").rename(packages / "torch-2.12.0.dist-info")
    (checkout.venv / "broken-operators").touch()
    checkout.run()
    assert any("--no-cache-dir" in call[0] for call in checkout.calls())


def test_a_gpu_is_compiled_for(checkout: Checkout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (checkout.venv / "gpu").touch()
    toolkit = tmp_path / "cuda" / "bin"
    toolkit.mkdir(parents=True)
    (toolkit / "nvcc").touch()
    monkeypatch.setenv("CUDA_HOME", str(toolkit.parent))
    checkout.run()
    assert [call[1].get("FORCE_CUDA") for call in checkout.calls() if "onedl-mmcv==2.3.6" in call[0]] == ["1"]


def test_a_gpu_without_its_compiler(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout.venv / "gpu").touch()
    monkeypatch.setenv("CUDA_HOME", "/nonexistent")
    which = make_environment.shutil.which
    monkeypatch.setattr(
        make_environment.shutil, "which", lambda name: None if name == "nvcc" else which(name)
    )
    with pytest.raises(SetupError, match=r"nvcc(?s:.)*CUDA_VISIBLE_DEVICES= make setup"):
        checkout.run()


def test_no_compiler(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_environment.shutil, "which", lambda name: None)
    with pytest.raises(SetupError, match=r"no C\+\+ compiler(?s:.)*apt install g\+\+"):
        checkout.run()


def test_another_system_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(Setup, "run", lambda self: pytest.fail("went on"))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert make_environment.main() == 1
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert "set-up failed: this system is 'darwin': the suite runs on Linux only." in capsys.readouterr().err


def test_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_environment.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e9}))
    with pytest.raises(SetupError, match=r"1\.0 GB free, but the environment needs 6 GB"):
        Setup(tmp_path).make_venv()


def test_python_out_of_range(checkout: Checkout) -> None:
    (checkout.venv / "pyvenv.cfg").write_text("version = 3.13.0\n")
    with pytest.raises(SetupError, match=r"made with Python 3\.13(?s:.)*make setup PYTHON="):
        checkout.run()


def test_interruption_ends_pip_and_leaves_no_stamp(checkout: Checkout) -> None:
    (checkout.venv / "slow").touch()
    (checkout.root / "tools").mkdir()
    script = shutil.copy(make_environment.__file__, checkout.root / "tools")
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(checkout.calls()) == 1)
    second = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    assert "Another set-up" in second.stdout.readline()
    second.kill()
    second.wait()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 130
    assert "goes on where it stopped" in process.stderr.read()  # type: ignore[union-attr]
    assert "tools" not in json.loads((checkout.venv / "setup-stamps.json").read_text())
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(checkout.venv) in read(path)]
    (checkout.venv / "slow").unlink()
    checkout.run()
    assert checkout.said[-1].startswith("Ready")


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def wait_for(condition, seconds: float = 10) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_progress_is_a_line_a_minute_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(make_environment.time, "monotonic", lambda: clock[0])
    said: list[str] = []
    watch = Compilation(said.append)
    for second in range(0, 181, 10):
        clock[0] = second
        watch(f"  [{second + 1}/190] g++ -c file.cpp\n")
        watch("  a line of something else\n")
    assert said[0].endswith("7-10 minutes on 2 cores")
    assert said[1:] == [f"  mmcv      {s + 1} of 190 objects compiled, {s} s" for s in (60, 120, 180)]


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "Free disk space"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "MAX_JOBS=1"),
        ("NewConnectionError('... Name or service not known')", "network"),
        ("The detected CUDA version (12.1) mismatches the version that was used to compile", "CUDA_HOME"),
        ("ERROR: No matching distribution found for torch==2.13.0", "index settings"),
    ],
)
def test_remedies(log: str, remedy: str) -> None:
    assert remedy in remedy_for(log)


def test_constraints_name_every_dependency_without_local_labels() -> None:
    lines = [
        line for line in (PROJECT / "constraints.txt").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    pinned = {re.split("==", line)[0].lower() for line in lines}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; python_version >= \"3\.11\")?", line) for line in lines)
    needed = re.findall(
        r'^\s+"([\w-]+)', (PROJECT / "pyproject.toml").read_text().split("[project.opt")[0], re.M
    )
    assert {name.lower() for name in needed} <= pinned


def test_makefile_names_its_targets() -> None:
    done = subprocess.run(
        ["make"], cwd=PROJECT, capture_output=True, text=True, env={**os.environ, "PRESET": "x"}
    )
    assert done.returncode == 0
    for target in ("setup", "reproduce-tables", "plan", "report", "doctor", "ui", "test", "lint"):
        assert f"make {target} " in done.stdout
    assert "PRESET=x" in done.stdout
