"""Errors that a user can mend."""

import difflib
from collections.abc import Iterable


class SuiteError(Exception):
    """A problem in what the user gave or in the machine, which the user can mend.

    Args:
        message: What is wrong: the file, the field, the value found and what was expected.
        remedy: What to do next.
    """

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message if remedy is None else f"{message}\n  -> {remedy}")
        self.message = message
        self.remedy = remedy


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name closest to ``name``, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""
