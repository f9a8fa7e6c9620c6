"""Puts the files of ``experiments/`` into the wheel; all else about the package is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithExperiments(build_py):
    """Copies them to where ``suite.workspace`` looks; an editable install uses the checkout's."""

    def run(self) -> None:
        """Build as ever, then copy."""
        super().run()
        if not self.editable_mode:
            source = Path(__file__).resolve().parent / "experiments"
            shipped = Path(self.build_lib) / "suite" / "experiments" / "shipped"
            shutil.rmtree(shipped, ignore_errors=True)  # of an earlier build
            shutil.copytree(source, shipped)


setup(cmdclass={"build_py": BuildWithExperiments})
