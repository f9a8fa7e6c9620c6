"""The pages on adding a table, a method and a study, followed to the letter in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from suite.experiments.tuned import load_best

BLOCK = re.compile(r"```(sh|yaml|python)\n(.*?)```", flags=re.DOTALL)
FILE = re.compile(r"`((?:suite|experiments)/[\w/]+\.(?:py|yaml))`")


@pytest.fixture
def copy(tmp_path: Path, project: Path) -> Path:
    """The project's files, with the environment that runs the tests as ``.venv``."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("suite", "experiments"):
        shutil.copytree(project / folder, tmp_path / folder, ignore=ignored)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def follow(page: Path, folder: Path) -> str:
    """Write each file that the page shows, run each command; returns what the last command printed."""
    text, printed, position = page.read_text(), "", 0
    for block in BLOCK.finditer(text):
        language, content = block.groups()
        if language == "sh":
            # PYTHONPATH: the copy's package, not the one that is installed.
            environment = {**os.environ, "PYTHONPATH": str(folder), "COCO_ROOT": ""}
            done = subprocess.run(
                ["bash", "-euc", content],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
            printed = done.stdout + done.stderr
            assert done.returncode == 0, printed
        else:
            path = folder / FILE.findall(text[position : block.start()])[-1]
            assert not path.exists(), f"{path} is part of the project"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        position = block.end()
    return printed


@pytest.mark.parametrize(
    ("page", "item", "rows"),
    [
        ("add-a-table.md", "mine.negative_matching", 4),
        ("add-a-method.md", "mine.nearest", 2),
    ],
)
def test_the_page_leads_to_its_table(project: Path, copy: Path, page: str, item: str, rows: int) -> None:
    printed = follow(project / "docs" / "how-to" / page, copy)
    assert "reports/smoke/index.html" in printed
    table = pd.read_csv(copy / "reports" / "smoke" / item / "table.csv")
    assert table["row"].nunique() == rows
    assert table[table["column"] == "AP"]["value"].notna().all()
    assert f'id="{item}"' in (copy / "reports" / "smoke" / "index.html").read_text()


def test_the_page_leads_to_its_study(project: Path, copy: Path) -> None:
    printed = follow(project / "docs" / "how-to" / "add-a-study.md", copy)
    folder = copy / "reports" / "smoke" / "studies" / "my_study"
    assert f"Report: {folder / 'index.html'}" in printed
    assert load_best(folder / "best.yaml").trials.total == 3
