"""MLflow's own pages in a real browser: what a person sees without configuring anything."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.tracking import MlflowClient

from suite.tracking.mlflow_mirror import Mirror
from suite.tracking.sync import sync_all
from suite.tracking.views import COLUMNS, view_address
from suite.workspace import Workspace

from .run_files import finish, make_run, write_lines, write_validation

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

NOT_OURS = (
    "users/current",  # asked for on every page, answered by servers with authentication only
    "ResizeObserver loop",
)


@dataclass(frozen=True)
class Pages:
    """What is shown: address of the server, id of the experiment, MLflow's id of each run."""

    url: str
    experiment: str
    runs: dict[str, str]


@pytest.fixture(scope="module")
def pages(tracking_server: str, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Two runs and a report, on a real server."""
    workspace = Workspace(tmp_path_factory.mktemp("pages"))
    for method, ap in (("ltm", 0.3155), ("retinanet", 0.2866)):
        run = make_run(workspace, f"{method}-s0-shown", method=method, preset="smoke")
        write_lines(run, 1, 20)
        write_validation(run, 10, ap - 0.1)
        write_validation(run, 20, ap)
        finish(run, ap)
    table = workspace.reports / "smoke" / "ltm.table2" / "table.csv"
    table.parent.mkdir(parents=True)
    table.write_text("method,sparse,dense\nRetinaNet,29.9,28.3\nLTM,31.6,30.5\n")
    sync_all(workspace, mirror=Mirror(workspace, tracking_server))
    client = MlflowClient(tracking_server)
    experiment = client.get_experiment_by_name("smoke").experiment_id
    found = client.search_runs([experiment])
    return Pages(
        tracking_server, experiment, {run.data.tags["suite.run_id"]: run.info.run_id for run in found}
    )


@pytest.fixture
def chrome(browser: "Chrome", pages: Pages) -> "Chrome":
    """The browser, in which MLflow has been opened before: its first start shows an assistant once."""
    browser.set_window_size(2200, 1000)  # the table draws only the columns that have room
    browser.get(pages.url)
    script = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
    browser.execute_script(script)
    return browser


def until(chrome: "Chrome", condition: Callable[["Chrome"], Any], seconds: float = 45) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(chrome, seconds, poll_frequency=0.2).until(condition)


def text(chrome: "Chrome") -> str:
    return str(chrome.execute_script("return document.body.innerText"))


def shows(chrome: "Chrome", *words: str) -> str:
    """Wait until the page shows all these words; returns its text."""
    until(chrome, lambda page: all(word in text(page) for word in words))
    return text(chrome)


def headings(chrome: "Chrome") -> list[str]:
    """Columns of the runs' table, from left to right."""
    columns = chrome.execute_script(
        "return [...document.querySelectorAll('.ag-header-cell')].map(cell =>"
        " [cell.getBoundingClientRect().x, cell.getAttribute('col-id')])"
    )
    return [name for _, name in sorted(columns)]


def assert_no_errors(chrome: "Chrome") -> None:
    severe = [line["message"] for line in chrome.get_log("browser") if line["level"] == "SEVERE"]
    assert [message for message in severe if not any(known in message for known in NOT_OURS)] == []


def test_experiment_lists_the_runs_with_the_columns_that_matter(chrome: "Chrome", pages: Pages) -> None:
    chrome.get(view_address(pages.url, pages.experiment))
    page = shows(chrome, "ltm seed 0", "retinanet seed 0", "AP50", "NR", "31.55", "28.66")
    assert "2 matching runs" in page  # the report is in a view of its own
    assert "Results" in page
    there = {"AP", "AP50", "NR", "step_seconds", "memory_mb", "train_hours"}  # MLflow hides empty columns
    expected = [f"metrics.`{name}`" for name in COLUMNS if name in there]
    until(chrome, lambda page: headings(page)[-len(expected) :] == expected)
    assert_no_errors(chrome)


def test_two_runs_are_compared_with_both_curves(chrome: "Chrome", pages: Pages) -> None:
    chrome.get(view_address(pages.url, pages.experiment) + "&compareRunsMode=CHART")
    shows(chrome, "train/loss", "ltm seed 0", "retinanet seed 0")

    def curves(page: "Chrome") -> Any:
        """Of the first chart of the loss: the points of each curve, once both are drawn."""
        drawn = page.execute_script(
            "return [...document.querySelectorAll('.js-plotly-plot')].map(plot =>"
            "  (plot.data || []).map(line => [line.name || '', [...(line.x || [])], [...(line.y || [])]]))"
        )
        for chart in drawn:
            lines = {name: (x, y) for name, x, y in chart if len(x) == 20}
            if len(lines) == 2:
                return lines  # the first chart: train/loss
        return None

    lines = until(chrome, curves)
    assert set(lines) == {"ltm seed 0", "retinanet seed 0"}
    for x, y in lines.values():
        assert x == list(range(1, 21))
        assert all(math.isfinite(value) for value in y)
    assert_no_errors(chrome)


def test_compare_page_has_both_runs_side_by_side(chrome: "Chrome", pages: Pages) -> None:
    from selenium.webdriver.common.by import By

    chrome.get(view_address(pages.url, pages.experiment))
    shows(chrome, "ltm seed 0", "retinanet seed 0")
    boxes = until(
        chrome, lambda page: page.find_elements(By.CSS_SELECTOR, ".ag-row .ag-checkbox-input-wrapper")
    )
    for box in boxes[:2]:
        box.click()
    button = until(
        chrome, lambda page: page.find_elements(By.CSS_SELECTOR, "[data-testid=runs-compare-button]")
    )[0]
    button.click()
    shows(chrome, "Comparing 2 Runs", "31.55", "28.66", "method")
    assert_no_errors(chrome)


def test_a_table_of_the_report_opens(chrome: "Chrome", pages: Pages) -> None:
    report = f"{pages.url}/#/experiments/{pages.experiment}/runs/{pages.runs['report:smoke']}"
    chrome.get(f"{report}/artifacts/ltm.table2/table.csv")
    shows(chrome, "RetinaNet", "29.9", "31.6")
    assert_no_errors(chrome)
