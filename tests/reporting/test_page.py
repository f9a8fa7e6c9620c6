"""The page over all items: what it keeps, what it counts, and what it does in a real browser."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from suite.experiments.schema import Experiment
from suite.reporting.claims import MeasuredClaim
from suite.reporting.inputs import ExperimentInput
from suite.reporting.render import render


def other(experiments: list[Experiment], identifier: str) -> tuple[Experiment, str]:
    return next(one for one in experiments if one.id == identifier), f"make {identifier}"


def test_items_of_an_earlier_report_stay_and_others_are_listed(
    make_report, shipped_experiments, tmp_path: Path
) -> None:
    first = make_report(seeds=(0, 1, 2), ids=("ltm.table1",))
    render(first, tmp_path)
    second = make_report(seeds=(0,), ids=("ltm.table2",))
    others = [other(shipped_experiments, "ltm.table1"), other(shipped_experiments, "paa.table1_left")]
    render(replace(second, others=others), tmp_path)
    page = (tmp_path / "index.html").read_text()
    for identifier in ("ltm.table1", "ltm.table2", "paa.table1_left"):
        assert f'<section id="{identifier}"' in page
    assert "LTM (M+)" in page  # a row of the earlier table
    assert "1 item with 3 seeds, 1 item with 1 seed" in page  # items by number of seeds
    assert "make paa.table1_left" in page
    readme = (tmp_path / "README.md").read_text()
    assert "| paa.table1_left | Separation of positives and negatives | not run |" in readme


def test_runs_are_counted_that_are_here(make_report, shipped_experiments, tmp_path: Path) -> None:
    """As in a fresh clone: the committed report is of three seeds, one was trained since."""
    committed = make_report(seeds=(0, 1, 2), ids=("ltm.table1",))
    render(committed, tmp_path / "report")
    report = make_report(seeds=(0,), ids=("ltm.table2",))
    for rows in report.experiments[0].runs.values():
        for run in rows:
            (tmp_path / "runs" / run.run_id).mkdir(parents=True)
            (tmp_path / "runs" / run.run_id / "result.json").write_text("{}")
    others = [other(shipped_experiments, "ltm.table1")]
    render(replace(report, runs=tmp_path / "runs", others=others), tmp_path / "report")
    readme, page = ((tmp_path / "report" / name).read_text() for name in ("README.md", "index.html"))
    assert "- Runs: 2 of 2 finished, for 1 table or figure\n" in readme
    assert "- Training seeds: 1 item with 1 seed\n" in readme
    gone = 3 * len(committed.experiments[0].runs) - 2
    kept = "- Kept from an earlier report: 1 table or figure (1 item with 3 seeds)"
    assert f"{kept}, of which {gone} runs are no longer here" in readme
    assert page.count("no longer here)") == gone
    assert page.count('<a href="../../runs/') == 2 + 2  # in each of the two items


def test_an_item_whose_file_has_changed_is_out_of_date(
    make_report, shipped_experiments, tmp_path: Path
) -> None:
    report = make_report(seeds=(0,), ids=("ltm.table1",))
    render(report, tmp_path)
    experiment, command = other(shipped_experiments, "ltm.table1")
    changed = experiment.model_copy(update={"title": "Another title"})
    later = replace(make_report(seeds=(0,), ids=("ltm.table2",)), others=[(changed, command)])
    render(later, tmp_path)
    assert "Out of date: the experiment's file has changed since" in (
        tmp_path / "index.html"
    ).read_text().replace("&#39;", "'")


def without_a_cells_field(content: str) -> str:
    """As an older version might have written it."""
    item = json.loads(content)
    del item["cells"][0]["tuned"]
    return json.dumps(item)


def with_other_kinds_of_values(content: str) -> str:
    return json.dumps({**json.loads(content), "made": [1, 2]})


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:500], lambda content: "[]", lambda content: "", without_a_cells_field,
     with_other_kinds_of_values, lambda content: content.replace('"verdict"', '"verd1ct"')],
)  # fmt: skip
def test_a_damaged_item_says_so_and_how_to_render_it_again(
    make_report, shipped_experiments, tmp_path: Path, damage
) -> None:
    render(make_report(seeds=(0,), ids=("ltm.table1",)), tmp_path)
    file = tmp_path / "ltm.table1" / "item.json"
    file.write_text(damage(file.read_text()))
    others = [other(shipped_experiments, "ltm.table1"), other(shipped_experiments, "ltm.fig8")]
    render(replace(make_report(seeds=(0,), ids=("ltm.table2",)), others=others), tmp_path)
    page, readme = ((tmp_path / name).read_text() for name in ("index.html", "README.md"))
    assert "item.json is damaged, render again: make ltm.table1" in page
    assert page.count("not rendered yet") == 1, "ltm.fig8 alone was never rendered"
    assert '<span class="badge damaged">1 damaged</span>' in page
    assert "| damaged | item.json is damaged, render again: make ltm.table1 |" in readme
    assert "LTM, dense" in page, "the other item is there"


def test_an_item_that_lost_a_figure_is_damaged(make_report, shipped_experiments, tmp_path: Path) -> None:
    render(make_report(seeds=(0,), ids=("ltm.fig8",)), tmp_path)
    (tmp_path / "ltm.fig8" / "figure.svg").unlink()
    others = [other(shipped_experiments, "ltm.fig8")]
    render(replace(make_report(seeds=(0,), ids=("ltm.table2",)), others=others), tmp_path)
    assert "figure.svg is damaged, render again: make ltm.fig8" in (tmp_path / "index.html").read_text()


def test_an_item_rendered_before_there_were_all_fields_stays(
    make_report, shipped_experiments, tmp_path: Path
) -> None:
    render(make_report(seeds=(0,), ids=("ltm.table1",)), tmp_path)
    file = tmp_path / "ltm.table1" / "item.json"
    item = json.loads(file.read_text())
    for cell in item["cells"]:
        for name in ("published_split", "test_dev", "test_dev_source", "comparison", "not_compared"):
            del cell[name]
    file.write_text(json.dumps(item))
    others = [other(shipped_experiments, "ltm.table1")]
    render(replace(make_report(seeds=(0,), ids=("ltm.table2",)), others=others), tmp_path)
    assert "damaged" not in (tmp_path / "README.md").read_text()


def test_cells_know_everything_about_themselves(make_report, tmp_path: Path) -> None:
    render(make_report(ids=("ltm.table2",)), tmp_path)
    cells = json.loads((tmp_path / "ltm.table2" / "item.json").read_text())["cells"]
    dense = next(cell for cell in cells if (cell["row"], cell["column"]) == ("LTM", "dense"))
    assert dense["summary"]["n"] == 3 and len(dense["summary"]["interval"]) == 2
    assert dense["difference"]["n"] == 3
    assert dense["published"] == 32.7
    assert dense["run_ids"] == [f"ltm-s{seed}-0123456789ab" for seed in range(3)]
    assert dense["command"]


@pytest.fixture
def page(make_report, shipped_experiments, tmp_path: Path) -> Path:
    """A page with tables, charts, a picture of a formula, and a row that the preset cannot measure."""
    report = make_report(ids=("ltm.table1", "ltm.fig7", "paa.table2_left", "freeanchor.fig5"))
    formula, command = other(shipped_experiments, "freeanchor.fig2")
    r101 = "not measurable at preset mini: it trains one backbone"
    large, _ = other(shipped_experiments, "freeanchor.table3")
    rows = {row.label: r101 for row in large.rows if row.method}
    extra = [ExperimentInput(formula, {}, command), ExperimentInput(large, {}, "make", rows)]
    render(replace(report, experiments=[*report.experiments, *extra]), tmp_path)
    return tmp_path / "index.html"


def test_the_page_in_a_browser(browser, page: Path) -> None:
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) == 4
    assert all(browser.execute_script("return arguments[0].naturalWidth", image) > 100 for image in images)

    def shown() -> set[str]:
        found = browser.find_elements(By.TAG_NAME, "section")
        return {section.get_attribute("id") for section in found if section.is_displayed()}

    everything = shown()
    assert len(everything) == 6
    Select(browser.find_element(By.ID, "paper")).select_by_visible_text("ltm")
    assert shown() == {"ltm.table1", "ltm.fig7"}
    assert browser.find_element(By.ID, "shown").text == "2 of 6 shown"
    Select(browser.find_element(By.ID, "paper")).select_by_visible_text("all")
    Select(browser.find_element(By.ID, "verdict")).select_by_visible_text("not measurable here")
    assert shown() == {"freeanchor.table3"}
    rows = [row for row in browser.find_elements(By.CSS_SELECTOR, ".items tbody tr") if row.is_displayed()]
    assert [row.find_element(By.TAG_NAME, "a").text for row in rows] == ["freeanchor.table3"]
    Select(browser.find_element(By.ID, "verdict")).select_by_visible_text("all")
    assert shown() == everything

    cell = browser.find_element(By.CSS_SELECTOR, "section[id='ltm.table1'] button[data-place]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
    cell.click()
    dialog = browser.find_element(By.ID, "cell")
    assert dialog.is_displayed()
    assert "ltm.table1: RetinaNet (baseline), AP" in dialog.text
    assert "retinanet-s0-0123456789ab" in dialog.text
    assert "3 seeds, standard deviation" in dialog.text
    dialog.find_element(By.TAG_NAME, "button").click()
    assert not dialog.is_displayed()
    assert browser.get_log("browser") == []


@pytest.fixture
def first_screen(make_report, shipped_experiments, tmp_path: Path) -> Path:
    """A page with claims of two items, one of them cut off by the axis."""
    report = make_report(ids=("ltm.table1", "ltm.table2"))
    render(report, tmp_path)
    file = tmp_path / "ltm.table2" / "item.json"
    item = json.loads(file.read_text())
    settled = MeasuredClaim(
        "ltm.table2", "LTM gains most where objects overlap", "gain_rises", "LTM", "AP", "positive", 1.0, 2.2,
        effect=1.8, interval=(0.9, 2.7), adjusted=(0.4, 3.2), outcome="as published",
    )  # fmt: skip
    wide = replace(settled, effect=-1.0, interval=(-40.0, 38.0), adjusted=(-90.0, 90.0), outcome="open")
    item["claims"] = [asdict(settled), asdict(wide)]
    file.write_text(json.dumps(item))
    others = [other(shipped_experiments, "ltm.table2")]
    render(replace(make_report(ids=("ltm.table1",)), others=others), tmp_path)
    return tmp_path / "index.html"


def test_the_first_screen_leads_to_its_tables(browser, first_screen: Path) -> None:
    browser.get(first_screen.as_uri())
    assert browser.get_log("browser") == []
    claims = browser.find_elements(By.CSS_SELECTOR, "a.claim[href='#ltm.table2']")
    assert "as published" in claims[0].text and "+1.8 [+0.9, +2.7]; paper +2.2" in claims[0].text
    strip = claims[0].find_element(By.CSS_SELECTOR, "svg.strip").rect
    drawn = {one: claims[0].find_element(By.CSS_SELECTOR, f"svg.strip {one}").rect
             for one in ("circle", ".thick", ".thin", ".paper", ".zero")}  # fmt: skip

    def centre(name: str) -> float:
        return drawn[name]["x"] + drawn[name]["width"] / 2

    assert strip["x"] < centre(".zero") < centre("circle") < centre(".paper") < strip["x"] + strip["width"]
    assert drawn[".thick"]["width"] < drawn[".thin"]["width"]
    assert len(claims[1].find_elements(By.CSS_SELECTOR, ".cut")) == 4, "both intervals go on at both ends"
    claims[0].click()
    top = browser.execute_script("return document.getElementById('ltm.table2').getBoundingClientRect().top")
    assert abs(top) < 120
    rows = browser.find_elements(By.CSS_SELECTOR, "table.methods tbody tr")
    assert len(rows) == 4 and all(row.find_elements(By.TAG_NAME, "td")[0].text for row in rows)
    curves = browser.find_element(By.CSS_SELECTOR, "picture img")
    assert browser.execute_script("return arguments[0].naturalWidth", curves) > 500
    readme = (first_screen.parent / "README.md").read_text()
    for picture in ("claims.png", "ap_over_training.png"):
        assert f"({picture})" in readme and (first_screen.parent / picture).stat().st_size > 1000
    assert re.search(r"\d claims that were measured, \d (is|are) settled: \d as published", readme)


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_of_the_first_screen_is_clipped(browser, first_screen: Path, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(first_screen.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for text in browser.find_elements(By.CSS_SELECTOR, ".claim .text, .claim .numbers, .sentence"):
        size = float(text.value_of_css_property("font-size").removesuffix("px"))
        assert size >= 12 and text.rect["x"] >= 0 and text.rect["x"] + text.rect["width"] <= width
    table = browser.find_element(By.CSS_SELECTOR, "table.methods")
    if width == 1400:
        holder = table.find_element(By.XPATH, "..")
        assert browser.execute_script("return arguments[0].scrollWidth <= arguments[0].clientWidth", holder)


def test_the_page_fits_a_phone(browser, page: Path) -> None:
    browser.set_window_size(400, 800)
    browser.get(page.as_uri())
    wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0  # tables and figures scroll within themselves
