"""What the functions that train gave, for the pictures of formulas: ``formulas.json``."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from suite.files import read_json

FILE = Path(__file__).with_name("formulas.json")
"""Written by :mod:`suite.reporting.pictures.write_formulas`."""


@lru_cache(maxsize=1)
def formulas() -> dict[str, dict[str, Any]]:
    """The content of the file: name of a formula -> its values."""
    content: dict[str, dict[str, Any]] = read_json(FILE)
    return content
