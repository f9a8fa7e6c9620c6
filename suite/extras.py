"""The packages that only some commands need: which extra brings them, and what to say where they are missing.

``suite evaluate`` and ``suite compare`` need none of them.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

from suite.errors import SuiteError

OPTIONAL = {
    "cv2": "opencv-python-headless",
    "imaug": "imaug",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "mlflow": "mlflow",
    "mmcv": "onedl-mmcv",
    "mmdet": "onedl-mmdetection",
    "mmengine": "onedl-mmengine",
    "optuna": "optuna",
    "optuna_dashboard": "optuna-dashboard",
    "PIL": "pillow",
    "psutil": "psutil",
    "pydantic": "pydantic",
    "ray": "ray",
    "torch": "torch",
    "yaml": "pyyaml",
}
"""Module -> package that an extra installs."""

TRAINING = ("torch", "mmcv", "mmdet")
"""Modules that only the processes of the runs import."""


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Keep to itself what mmdet and its packages say while they are imported: no user can act on it."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def require(*modules: str) -> None:
    """Fail before any work where modules are missing that only other processes will import.

    Raises:
        ModuleNotFoundError: As their import would.
    """
    for module in modules:
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def missing_extra(error: ModuleNotFoundError) -> SuiteError | None:
    """What to tell the user if an optional package is what was not found; None if it is anything else.

    Args:
        error: From the import that failed. A missing part of an installed package, like ``mmcv._ext``, is
            anything else.
    """
    package = OPTIONAL.get(error.name or "")
    if package is None:
        return None
    return SuiteError(
        f"this command needs {package}, which is not installed.",
        "pip install 'anchor-assignment-suite[all]'",
    )
