"""Why a number or a picture is missing, as a cell or a note says it."""

from suite.errors import SuiteError
from suite.text import one_line


def in_one_line(error: SuiteError) -> str:
    """What is wrong and what to do about it, without line breaks."""
    return one_line(f"{error.message}\n{error.remedy or ''}")
