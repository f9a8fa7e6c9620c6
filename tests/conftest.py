"""Fixtures that several folders share."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from suite.data.dataset import Dataset, Split

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


# Tests on every core, each with a thread for every core, wait for one another. torch reads it at its import.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores Ctrl-C, and hands that down: tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of three categories that exists in name only: enough to resolve and plan, not to train."""
    root = tmp_path / "dataset"
    train, val = (
        Split(root / "annotations.json", root / "images", n_images=4, n_boxes=9, fingerprint=letter * 64)
        for letter in "ab"
    )
    return Dataset(
        name="three", kind="shapes", root=root, train=train, val=val, categories=("disc", "ring", "rod")
    )


@pytest.fixture
def write_experiment(tmp_path: Path):
    """Writes ``experiments/<paper>/<name>.yaml`` with defaults for the fields not given."""

    def write(identifier: str, **fields) -> Path:
        values = {
            "id": identifier,
            "title": "A table",
            "question": "Does it work?",
            "kind": "table",
            "baseline": "RetinaNet",
            "rows": [{"label": "RetinaNet", "method": "retinanet"}, {"label": "LTM", "method": "ltm"}],
            "columns": [{"label": "AP", "metric": "AP"}],
            **fields,
        }
        paper, name = identifier.split(".")
        path = tmp_path / "experiments" / paper / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values, indent=1))  # JSON is YAML
        return path

    return write


@pytest.fixture
def browser(tmp_path: Path) -> "Iterator[Chrome]":
    """A headless Chromium whose console is read by ``get_log("browser")``; skips where there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # A container has neither the namespaces of the sandbox nor a large /dev/shm.
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1280,900"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={tmp_path / 'browser'}")
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()
