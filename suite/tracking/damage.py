"""Files of a run or study that are not as the suite writes them: they cost that run or study alone."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from suite.errors import SuiteError


class Unsendable(SuiteError):
    """A run or study that cannot be mirrored because a file of its own is damaged; all others can."""


@contextlib.contextmanager
def reading(file: Path) -> Iterator[None]:
    """A block that reads a file and takes its content apart, and does nothing else.

    Raises:
        Unsendable: The block raised anything.
    """
    try:
        yield
    except SuiteError as error:
        raise Unsendable(error.message, error.remedy) from error
    except Exception as error:  # odd content fails in as many ways as its readers have
        text = " ".join(str(error).split())[:200]
        raise Unsendable(f"{file}: not as the suite writes it ({type(error).__name__}: {text}).") from error


@contextlib.contextmanager
def sending(folder: Path) -> Iterator[None]:
    """A block that sends what the files in a folder say.

    Raises:
        Unsendable: MLflow answers, and takes something in it for invalid: the name of a metric, say.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "error_code", None) != "INVALID_PARAMETER_VALUE":
            raise
        text = " ".join(str(error).split())[:200]
        raise Unsendable(f"{folder}: MLflow refuses it ({text}).") from error
