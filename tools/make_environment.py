"""Makes ``.venv`` with everything the suite needs: ``python3 tools/make_environment.py``, or ``make setup``.

Uses only the standard library, because it runs before anything is installed. Each step leaves a stamp once
it has succeeded and been verified, so that an interrupted set-up goes on where it stopped and a finished one
costs nothing. What is already in ``.venv`` and works, such as your own build of torch, is kept.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PYTHONS = ((3, 10), (3, 12))  # oldest and newest that every dependency supports
OLDEST_TORCH = (2, 4)
NEEDED_GB = 6
TOOLS = ("setuptools", "wheel", "ninja", "psutil", "packaging")

# Calls the compiled operator without `import mmcv`, which would also need OpenCV and its system libraries.
# On a machine with a GPU the operator must have been compiled for it, too.
CHECK_OPERATORS = """
import glob, importlib.util, os, torch
folder = importlib.util.find_spec("mmcv").submodule_search_locations[0]
paths = glob.glob(os.path.join(folder, "_ext*.so"))
assert paths, "mmcv was installed without its compiled operators"
spec = importlib.util.spec_from_file_location("mmcv._ext", paths[0])
operators = importlib.util.module_from_spec(spec)
spec.loader.exec_module(operators)
for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]], device=device)
    kept = operators.nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), iou_threshold=0.5, offset=0)
    assert kept.tolist() == [0, 2], kept
"""
CHECK_PACKAGES = """
import mmcv._ext
from mmcv.ops import nms
import hotcoco, matplotlib, mlflow, mmdet, optuna, pandas, pyarrow, pytest, ray, suite
"""


class SetupError(Exception):
    """A step that failed: what went wrong, and what the user can do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}\n  -> {remedy}")


class Setup:
    """The steps that make one checkout's ``.venv``.

    Args:
        root: The checkout, with ``pyproject.toml`` and ``constraints.txt``.
        say: Prints a line.
    """

    def __init__(self, root: Path, say: Callable[[str], None] = print) -> None:
        self.root = root
        self.say = say
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.logs = self.venv / "setup-logs"
        self.stamp_file = self.venv / "setup-stamps.json"
        self.constraints = root / "constraints.txt"
        self.lock_handle: int | None = None

    def run(self) -> None:
        """Do every step that is not done yet.

        Raises:
            SetupError: A need is not met, or a step failed.
        """
        if self.is_done():
            self.say(f"{self.venv.name} is up to date.")
            return
        with self.lock():
            steps = {
                "venv": self.make_venv,
                "tools": self.install_tools,
                "torch": self.install_torch,
                "mmcv": self.install_mmcv,
                "packages": self.install_packages,
            }
            for name, step in steps.items():
                if self.stamps().get(name) == self.key(name):
                    continue
                started = time.monotonic()
                detail = step()
                self.write_stamp(name)
                self.say(f"  {name:<9} {detail}, {time.monotonic() - started:.0f} s")
            self.say(f"Ready: {self.venv}")

    # What is done

    def is_done(self) -> bool:
        """Whether every step has a stamp of its present inputs. Starts no process: takes milliseconds."""
        stamps = self.stamps()
        return self.python.exists() and all(
            stamps.get(name) == self.key(name) for name in ("venv", "tools", "torch", "mmcv", "packages")
        )

    def stamps(self) -> dict[str, str]:
        """Step -> hash of the inputs it was last done with."""
        try:
            return dict(json.loads(self.stamp_file.read_text()))
        except (OSError, ValueError):
            return {}

    def write_stamp(self, name: str) -> None:
        """Record that a step is done."""
        temporary = self.stamp_file.with_suffix(".new")
        temporary.write_text(json.dumps({**self.stamps(), name: self.key(name)}, indent=1))
        temporary.replace(self.stamp_file)

    def key(self, name: str) -> str:
        """Hash of all that a step's outcome depends on, the steps before it included."""
        inputs = [self.venv_python(), str(self.root)]
        if name in ("tools", "torch", "mmcv"):
            inputs += [self.pin(tool) for tool in TOOLS]
        if name in ("torch", "mmcv", "packages"):
            inputs.append(self.installed("torch"))
        if name in ("mmcv", "packages"):
            inputs += [self.pin("onedl-mmcv"), self.installed("onedl_mmcv")]
        if name == "packages":
            inputs += [self.constraints.read_text(), (self.root / "pyproject.toml").read_text()]
        return hashlib.sha256("\0".join(inputs).encode()).hexdigest()

    def pin(self, package: str) -> str:
        """A package's requirement in ``constraints.txt``, like ``torch==2.13.0``."""
        for line in self.constraints.read_text().splitlines():
            if line.split("==")[0].strip().lower() == package:
                return line.strip()
        raise SetupError(f"{self.constraints} has no line for {package}.", "Restore the file.")

    def installed(self, package: str) -> str:
        """Installed version of a package, with its local label; empty if absent. Looks at folder names."""
        found = glob.glob(str(self.venv / "lib" / "python3*" / "site-packages" / f"{package}-*.dist-info"))
        return Path(found[0]).name[len(package) + 1 : -len(".dist-info")] if found else ""

    def venv_python(self) -> str:
        """Version of the environment's Python, like ``3.11.7``; empty while there is none."""
        with contextlib.suppress(OSError):
            for line in (self.venv / "pyvenv.cfg").read_text().splitlines():
                if line.split("=")[0].strip() in ("version", "version_info"):
                    return line.split("=")[1].strip()
        return ""

    # The steps

    def make_venv(self) -> str:
        """Make the environment, or accept the one that is there."""
        present = self.venv_python()
        version = tuple(map(int, present.split(".")[:2])) if present else sys.version_info[:2]
        if not PYTHONS[0] <= version <= PYTHONS[1]:
            which = f"{self.venv} was made with" if present else f"{sys.executable} is"
            others = [p for p in map(shutil.which, ("python3.12", "python3.11", "python3.10")) if p]
            found = f" (found: {', '.join(others)})" if others else ""
            again = f"Remove {self.venv}, then run" if present else "Run"
            raise SetupError(
                f"{which} Python {version[0]}.{version[1]}, but Python 3.10, 3.11 or 3.12 is needed.",
                f"{again} `make setup PYTHON=/path/to/python3.11`{found}.",
            )
        if present and not self.python.exists():
            raise SetupError(
                f"{self.python} points to a Python that is gone.",
                f"Remove {self.venv} and run `make setup` again.",
            )
        if present and self.succeeds([str(self.python), "-m", "pip", "--version"]):
            return f"kept, Python {present}"
        free_gb = shutil.disk_usage(self.root).free / 1e9
        if free_gb < NEEDED_GB:
            raise SetupError(
                f"{self.root}: {free_gb:.1f} GB free, but the environment needs {NEEDED_GB} GB.",
                "Free disk space.",
            )
        self.say(f"Setting up {self.venv} (logs in {self.logs})")
        self.call(
            "venv",
            [sys.executable, "-m", "venv", str(self.venv)],
            "Install Python's venv module (on Debian and Ubuntu: apt install python3-venv).",
        )
        return f"Python {self.venv_python()}"

    def install_tools(self) -> str:
        """Install what building mmcv needs."""
        self.pip("tools", [self.pin(tool) for tool in TOOLS])
        return ", ".join(TOOLS)

    def install_torch(self) -> str:
        """Install torch, unless the environment has one that is recent enough and sees the GPUs."""
        gpus = self.gpus()
        check = "import torch; print(torch.__version__); torch.zeros(2).sum()"
        remedy = "Read the log; a build of torch for another machine may have been installed."
        wanted = self.pin("torch")
        if gpus:
            names = ", ".join(sorted({name for name, _ in gpus}))
            self.say(f"  GPU       {len(gpus)} x {names}: torch with CUDA (CPU alone: CUDA_VISIBLE_DEVICES=)")
            check += (
                "; assert torch.cuda.is_available(), "
                "f'torch {torch.__version__}, built for CUDA {torch.version.cuda}, sees no GPU'"
            )
            remedy = (
                "Give the pip index that has torch for the CUDA version of this machine's driver, which "
                "nvidia-smi prints: make setup TORCH_INDEX=<index>. Or set up for the CPU alone: "
                "CUDA_VISIBLE_DEVICES= make setup."
            )
            wanted += f",!={wanted.split('==')[1]}+cpu"
        present = self.installed("torch")
        recent = tuple(map(int, re.findall(r"\d+", present)[:2])) >= OLDEST_TORCH
        if present and recent and self.succeeds([str(self.python), "-c", check]):
            return f"kept, {present}"
        index = os.environ.get("TORCH_INDEX")
        self.pip("torch", [wanted, *(["--extra-index-url", index] if index else [])])
        self.verify("torch", check, remedy)
        return self.installed("torch")

    def install_mmcv(self) -> str:
        """Compile and install mmcv, and make sure that its operators work with the torch that is there.

        pip may hold a wheel in its cache that was built without operators (by an isolated build) or for
        another torch; verification finds that, and the wheel is then built again without the cache.
        """
        wanted = self.pin("onedl-mmcv").split("==")[1]
        if self.installed("onedl_mmcv") == wanted and not self.problem(CHECK_OPERATORS):
            return f"kept, {wanted}"
        environment = self.compiler_environment()
        request = [
            "--no-build-isolation",
            "-v",
            self.pin("onedl-mmcv"),
            "-c",
            str(self.effective_constraints()),
        ]
        self.pip("mmcv", request, environment, Compilation(self.say))
        if self.problem(CHECK_OPERATORS):
            self.say("  mmcv      pip's cached build does not fit this torch: compiling it anew")
            fresh = ["--no-cache-dir", "--force-reinstall", "--no-deps", *request]
            self.pip("mmcv", fresh, environment, Compilation(self.say))
        self.verify("mmcv", CHECK_OPERATORS, "Read the log for the compiler's first error.")
        return f"{wanted}, operators compiled and working"

    def install_packages(self) -> str:
        """Install everything else, and the suite itself in place."""
        constraints = str(self.effective_constraints())
        self.pip("packages", ["--no-build-isolation", "-e", f"{self.root}[all,dev]", "-c", constraints])
        # mmcv asks for opencv-python, whose GUI needs libGL; the headless build does without.
        if self.problem("import cv2"):
            self.pip("packages", ["--force-reinstall", "--no-deps", self.pin("opencv-python-headless")])
        self.verify("packages", CHECK_PACKAGES, f"Remove {self.venv} and run `make setup` again.")
        return "everything else"

    # How they are done

    def effective_constraints(self) -> Path:
        """``constraints.txt`` with the installed torch in place of the pinned one, so that pip keeps it."""
        pinned = self.pin("torch")
        path = self.logs / "constraints.txt"
        self.logs.mkdir(parents=True, exist_ok=True)
        path.write_text(self.constraints.read_text().replace(pinned, f"torch=={self.installed('torch')}"))
        return path

    def compiler_environment(self) -> dict[str, str]:
        """Environment variables for the compilation of mmcv.

        Raises:
            SetupError: There is no C++ compiler, no Python header, or a GPU but no CUDA compiler.
        """
        if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "c++", "g++"))):
            raise SetupError(
                "no C++ compiler (c++ or g++), which mmcv's operators need.",
                "Install one (on Debian and Ubuntu: apt install g++) and run `make setup` again.",
            )
        if self.venv_python().split(".")[:2] == list(map(str, sys.version_info[:2])):
            header = Path(sysconfig.get_path("include")) / "Python.h"
            if not header.exists():
                raise SetupError(
                    f"{header} is missing, which mmcv's operators need.",
                    "Install Python's headers (on Debian and Ubuntu: apt install python3-dev).",
                )
        cores = len(os.sched_getaffinity(0))
        memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
        jobs = max(1, min(cores, int(memory_gb / 2)))  # one compiler needs up to 2 GB
        environment = {"MMCV_WITH_OPS": "1", "MAX_JOBS": os.environ.get("MAX_JOBS", str(jobs))}
        if self.succeeds(
            [str(self.python), "-c", "import torch; raise SystemExit(not torch.cuda.is_available())"]
        ):
            home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
            if not shutil.which("nvcc") and not os.path.exists(os.path.join(home, "bin", "nvcc")):
                raise SetupError(
                    f"torch {self.installed('torch')} sees a GPU, but there is no CUDA compiler (nvcc).",
                    "Install the CUDA toolkit of torch's CUDA version and set CUDA_HOME, "
                    "or set up for the CPU alone: CUDA_VISIBLE_DEVICES= make setup.",
                )
            environment["FORCE_CUDA"] = "1"
            capabilities = ";".join(sorted({capability for _, capability in self.gpus()}))
            chosen = os.environ.get("TORCH_CUDA_ARCH_LIST", capabilities)
            if chosen:
                environment["TORCH_CUDA_ARCH_LIST"] = chosen
            self.say(
                f"  mmcv      for the CPU and for GPUs of compute capability {chosen or 'as torch finds'}"
            )
        else:
            self.say("  mmcv      for the CPU alone")
        return environment

    def gpus(self) -> list[tuple[str, str]]:
        """Name and compute capability, like ``9.0``, of each GPU of nvidia-smi's that nobody has hidden."""
        if os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
            return []
        query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
        try:
            listing = subprocess.run(query, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return []
        rows = [line.rsplit(",", 1) for line in listing.stdout.splitlines() if not listing.returncode]
        return [(row[0].strip(), row[1].strip()) for row in rows if len(row) == 2]

    def pip(
        self,
        name: str,
        arguments: list[str],
        environment: dict[str, str] | None = None,
        watch: Callable[[str], None] | None = None,
    ) -> None:
        """``pip install`` into the environment, its output in the step's log."""
        command = [
            str(self.python),
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            *arguments,
        ]
        self.call(name, command, None, environment, watch)

    def call(
        self,
        name: str,
        command: list[str],
        remedy: str | None,
        environment: dict[str, str] | None = None,
        watch: Callable[[str], None] | None = None,
    ) -> None:
        """Run a command of a step, its output in the step's log; ``watch`` sees each line.

        Raises:
            SetupError: It failed.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with log.open("a", errors="replace") as stream:
            stream.write(f"\n$ {' '.join(command)}\n")
            stream.flush()
            # The child inherits the lock: it stays held while pip lives, even if this process is killed.
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=self.root,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                pass_fds=() if self.lock_handle is None else (self.lock_handle,),
            )
            assert process.stdout is not None
            lines = []
            try:
                for line in process.stdout:
                    lines.append(line.rstrip())
                    stream.write(line)
                    if watch is not None:
                        watch(line)
                code = process.wait()
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        if code:
            tail = "\n".join("    " + line for line in lines[-15:])
            raise SetupError(
                f"step {name} failed; the end of {log}:\n{tail}", remedy or remedy_for("\n".join(lines))
            )

    def problem(self, code: str) -> str:
        """What goes wrong when the environment's Python runs ``code``; empty if nothing."""
        done = subprocess.run([str(self.python), "-c", code], capture_output=True, text=True, cwd=self.root)
        return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else ""

    def succeeds(self, command: list[str]) -> bool:
        """Whether a command exits with status 0."""
        return subprocess.run(command, capture_output=True).returncode == 0

    def verify(self, name: str, code: str, remedy: str) -> None:
        """Raise a SetupError if ``code`` fails in the environment."""
        problem = self.problem(code)
        if problem:
            tail = "\n".join("    " + line for line in problem.splitlines()[-6:])
            raise SetupError(f"step {name} ended, but what it installed does not work:\n{tail}\n"
                             f"  log: {self.logs / (name + '.log')}", remedy)  # fmt: skip

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second set-up of the same checkout waiting until this one ends."""
        import fcntl  # here, because other systems lack it and main() is to say so

        self.venv.mkdir(exist_ok=True)
        self.lock_handle = os.open(self.venv / ".setup.lock", os.O_CREAT | os.O_RDWR)
        try:
            try:
                fcntl.flock(self.lock_handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say("Another set-up of this checkout is under way: waiting for it.")
                fcntl.flock(self.lock_handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(self.lock_handle)
            self.lock_handle = None


class Compilation:
    """Shows how far the compilation of mmcv is, from ninja's ``[12/190]`` in pip's output.

    Args:
        say: Prints a line; used once a minute where the output is no terminal.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.started = time.monotonic()
        self.spoken = 0.0
        self.begun = False

    def __call__(self, line: str) -> None:
        """Take a line of pip's output."""
        found = re.match(r"\s*\[(\d+)/(\d+)\]", line)
        if not found:
            return
        elapsed = time.monotonic() - self.started
        if not self.begun:
            self.begun = True
            self.say("  mmcv      compiling its operators, once: 7-10 minutes on 2 cores")
        done, total = found.groups()
        text = f"  mmcv      {done} of {total} objects compiled, {elapsed:.0f} s"
        if sys.stdout.isatty():
            print("\r" + text, end="\n" if done == total else "", flush=True)
        elif elapsed - self.spoken >= 60:
            self.spoken = elapsed
            self.say(text)


def remedy_for(log: str) -> str:
    """What to do about a failed pip, judged by its output."""
    again = "then run `make setup` again: it goes on where it stopped."
    if "No space left on device" in log:
        return f"Free disk space, {again}"
    if re.search(
        r"mismatches the version that was used to compile|CUDA_HOME environment variable is not set", log
    ):
        return f"Point CUDA_HOME to the CUDA toolkit of torch's own CUDA version, {again}"
    if re.search(r"Killed|out of memory|Killed signal terminated program", log):
        return f"The compiler ran out of memory: set MAX_JOBS=1, {again}"
    if re.search(r"error: command .* failed|fatal error:|ninja: build stopped", log):
        return f"Mend the compiler's first error in the log, {again}"
    if re.search(
        r"NewConnectionError|ConnectTimeout|ReadTimeout|timed out|Could not fetch URL|SSLError", log
    ):
        return f"Check the network (and pip's proxy or index settings), {again}"
    if "No matching distribution" in log:
        return f"Check the network and pip's index settings; Python 3.11 on Linux has wheels for all, {again}"
    return f"Read the log, {again}"


def main() -> int:
    """Set up the checkout that this file belongs to; return an exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the child with us
    try:
        if sys.platform != "linux":
            raise SetupError(
                f"this system is {sys.platform!r}: the suite runs on Linux only.",
                "Use a Linux machine, or Linux in a container or a virtual machine (WSL 2 on Windows).",
            )
        Setup(Path(__file__).resolve().parents[1], lambda line: print(line, flush=True)).run()
    except SetupError as error:
        print(f"\nset-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up interrupted; `make setup` goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
