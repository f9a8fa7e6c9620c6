"""What rendering a report costs: `suite report` as shipped against the same report by pycocotools.

Both arms are cold processes that render all items of a preset from the runs that are there, one after the
other, into a folder of their own. Their tables hold the same numbers. The modules that the process ended
with tell whether torch was among them.

    python benchmarks/report.py --preset mini
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from suite.machine import cpu_count, git_commit

PROJECT = Path(__file__).resolve().parent.parent
CODE = """
import sys
from suite.cli import main
sys.argv[1:] = ["report", "--experiments", "all", *sys.argv[1:]]
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def arm(folder: Path, preset: str, evaluator: str) -> tuple[float, bool]:
    """Seconds of a report from a cold process, and whether torch was imported."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, "--preset", preset, "--evaluator", evaluator],
        cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    return time.perf_counter() - start, done.stderr.strip().splitlines()[-1] == "True"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {"hotcoco": [], "pycocotools": []}
    torch: set[bool] = set()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("experiments", "runs", "data"):
            (folder / name).symlink_to(PROJECT / name)
        for _ in range(arguments.repeats):
            for evaluator, taken in seconds.items():
                spent, imported = arm(folder, arguments.preset, evaluator)
                taken.append(spent)
                torch.add(imported)
        reports = folder / "reports" / arguments.preset
        items = len(list(reports.glob("*/item.json")))
        kilobytes = (reports / "index.html").stat().st_size // 1000
    best = {evaluator: round(min(taken), 2) for evaluator, taken in seconds.items()}
    print(
        json.dumps(
            {
                "preset": arguments.preset,
                "items": items,
                "runs": len(list((PROJECT / "runs").glob("*/result.json"))),
                "index_html_kB": kilobytes,
                "seconds": best,
                "pycocotools / hotcoco": round(best["pycocotools"] / best["hotcoco"], 2),
                "torch_imported": any(torch),
                "python": platform.python_version(),
                "cores": int(cpu_count()),
                "commit": git_commit(PROJECT),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
