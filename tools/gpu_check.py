"""Everything that only a GPU can show, in one report: ``make gpu-check``.

Tests marked ``gpu``, then benchmarks/gpu.py, then the runs of ``ltm.table1`` at preset ``mini`` on the GPU,
exact and with FAST=1. Ends with status 0 if all went well. The report is ``reports/gpu/gpu-check.md``; what
each part printed lies beside it.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parts(python: str, folder: Path) -> dict[str, list[str]]:
    """What is run, in this order: name -> command."""
    mini = [python, "-m", "suite.cli", "run", "--preset", "mini", "--experiments", "ltm.table1", "--executor",
            "local", "--gpus-per-run", "1"]  # fmt: skip
    return {
        "tests": [python, "-m", "pytest", "-m", "gpu", "tests/gpu"],
        "benchmark": [python, "benchmarks/gpu.py", "--out", str(folder)],
        "mini": mini,
        "mini with FAST=1": [*mini, "--fast"],
    }


def gpu_problem(python: str) -> str:
    """Why there is nothing to check here; empty if torch sees a GPU."""
    code = (
        "import torch\n"
        "if not torch.cuda.is_available():\n"
        "    built = torch.version.cuda\n"
        "    raise SystemExit('torch ' + torch.__version__ + (' sees no GPU' if built else "
        "' was built without CUDA'))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return (done.stderr.strip().splitlines() or ["torch cannot be imported"])[-1] if done.returncode else ""


def run(name: str, command: Sequence[str], log: Path) -> tuple[bool, float]:
    """Whether a part went well, and its seconds; its output goes to the screen and into ``log``."""
    print(f"== {name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            stream.write(line)
    return process.wait() == 0, time.monotonic() - started


def report(folder: Path, outcomes: dict[str, tuple[bool, float]]) -> str:
    """The report in Markdown."""
    lines = ["# GPU check", "", "| part | outcome | seconds | output |", "| --- | --- | --- | --- |"]
    for name, (ok, seconds) in outcomes.items():
        log = log_of(folder, name).name
        lines.append(f"| {name} | {'passed' if ok else '**failed**'} | {seconds:.0f} | [{log}]({log}) |")
    tests = log_of(folder, "tests")
    if tests.exists():
        lines += ["", f"Tests: {(tests.read_text().strip().splitlines() or ['no output'])[-1].strip('= ')}."]
    table = folder / "gpu.md"
    if outcomes.get("benchmark", (False, 0))[0] and table.exists():
        lines += ["", table.read_text().replace("# One GPU", "## One GPU")]
    return "\n".join(lines) + "\n"


def log_of(folder: Path, name: str) -> Path:
    """Where the output of a part is kept."""
    return folder / f"{name.replace(' ', '-').replace('=', '')}.log"


def main() -> int:
    python, folder = sys.executable, ROOT / "reports" / "gpu"
    if problem := gpu_problem(python):
        print(
            f"error: {problem}, so there is nothing to check.\n"
            "-> Run this on a machine with an NVIDIA GPU; where there is one, `suite doctor` says what is "
            "missing. `python benchmarks/gpu.py --rehearse` tries the benchmark on any machine.",
            file=sys.stderr,
        )
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = {
        name: run(name, command, log_of(folder, name)) for name, command in parts(python, folder).items()
    }
    text = report(folder, outcomes)
    (folder / "gpu-check.md").write_text(text)
    print(text)
    print(f"written: {folder / 'gpu-check.md'}")
    return 0 if all(ok for ok, _ in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
