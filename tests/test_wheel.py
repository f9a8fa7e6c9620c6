"""The wheel: its name and needs, what is in it, and that it is enough outside a checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import suite
from suite.extras import OPTIONAL
from suite.training.environment import PACKAGES

NAME = "anchor-assignment-suite"
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "suite", "experiments")


@pytest.fixture(scope="module")
def installed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel, as pip lays it out; built from a copy, because building leaves files."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in SOURCES:
        copy = shutil.copytree if (project / name).is_dir() else shutil.copy
        copy(project / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*command, "-w", built, source], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(built / "site-packages")
    return built / "site-packages"


@pytest.fixture(scope="module")
def metadata(installed: Path) -> Message:
    """What an index and pip read of the wheel."""
    (path,) = installed.glob("*.dist-info/METADATA")
    return Parser().parsestr(path.read_text())


def needs(metadata: Message, extra: str = "") -> set[str]:
    """The packages that the wheel, or one of its extras by its own, asks for."""
    asked = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    marker = f'extra == "{extra}"' if extra else "None"
    return {requirement.name for requirement in asked if str(requirement.marker) == marker}


def test_name_and_version_are_what_the_runs_record(metadata: Message) -> None:
    assert metadata["Name"] == NAME
    assert NAME in PACKAGES and "suite" not in PACKAGES
    assert metadata["Version"] == suite.__version__


def test_alone_it_asks_for_what_evaluate_and_compare_import(metadata: Message) -> None:
    light = {"hotcoco", "numpy", "pandas", "pyarrow", "pycocotools", "rich", "scipy", "typer"}
    assert needs(metadata) == light


def test_every_package_of_an_extra_is_known_to_the_command(metadata: Message) -> None:
    extras = set(metadata.get_all("Provides-Extra")) - {"dev"}
    assert extras == {"report", "train", "track", "tune", "all"}
    assert set().union(*(needs(metadata, extra) for extra in extras)) - {NAME} == set(OPTIONAL.values())


def test_it_holds_every_file_that_the_commands_read(installed: Path, project: Path) -> None:
    source = project / "suite"
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    wanted = {path for path in wanted if "__pycache__" not in path.parts}
    wanted |= {
        Path("experiments", "shipped") / path.relative_to(project / "experiments")
        for path in (project / "experiments").rglob("*.yaml")
    }
    package = installed / "suite"
    found = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    assert found == wanted
    assert Path("py.typed") in found


def elsewhere(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command of the wheel in another folder."""
    return subprocess.run(
        [sys.executable, "-m", "suite.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_tells_its_version(installed: Path, tmp_path: Path) -> None:
    assert elsewhere(installed, tmp_path, "--version").stdout == f"suite {suite.__version__}\n"


@pytest.mark.parametrize("own", [False, True])
def test_elsewhere_it_plans_its_own_experiments_or_those_that_are_there(
    installed: Path, tmp_path: Path, write_experiment, own: bool
) -> None:
    if own:
        write_experiment("mine.pair", core=True)
    done = elsewhere(installed, tmp_path, "plan", "--preset", "smoke")
    assert done.returncode == 0, done.stderr
    assert ("mine.pair" in done.stdout) == own
    assert ("ltm.table2" in done.stdout) != own
