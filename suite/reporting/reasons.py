"""Why a number or a picture is missing, as a cell or a note says it."""

from suite.errors import SuiteError


def in_one_line(error: SuiteError) -> str:
    """What is wrong and what to do about it, without line breaks."""
    return " ".join(f"{error.message} {error.remedy or ''}".split())
