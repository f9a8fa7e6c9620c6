"""Whole reports on fake runs."""

import base64
import csv
import hashlib
import json
import os
import re
import threading
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import pytest

from suite.errors import SuiteError
from suite.reporting.inputs import ReportInput
from suite.reporting.render import _drawing_processes, render

FIGURES = {"freeanchor.fig5", "freeanchor.fig6", "ltm.fig7", "ltm.fig8"}


@pytest.fixture(scope="module")
def rendered(make_report, tmp_path_factory) -> tuple[ReportInput, Path, list[Path], float]:
    missing = {("atss", 1): ("failed", "loss became NaN <at step 200>")}
    report, folder = make_report(missing=missing), tmp_path_factory.mktemp("report")
    start = cpu_seconds()
    return report, folder, render(report, folder), cpu_seconds() - start


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for; other work on the machine does not count."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def test_writes_every_file_of_every_core_item(rendered) -> None:
    report, folder, written, seconds = rendered
    names = {str(path.relative_to(folder)) for path in written}
    expected = {"index.html", "README.md"}
    expected |= {f"{name}.{kind}" for name in ("ap_over_training", "claims") for kind in ("png", "svg")}
    for given in report.experiments:
        identifier = given.experiment.id
        expected |= {f"{identifier}/{name}" for name in ("table.md", "table.csv", "table.tex", "item.json")}
        if identifier in FIGURES:
            expected |= {f"{identifier}/{name}" for name in ("figure.png", "figure.svg")}
    assert names == expected
    assert len(report.experiments) == 11
    assert all(path.stat().st_size > 0 for path in written)
    assert seconds < 30  # 9 s


def test_page_needs_nothing_from_outside_and_its_links_exist(rendered) -> None:
    _, folder, _, _ = rendered
    text = (folder / "index.html").read_text()
    references: list[str] = []

    class Collect(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            references.extend(value or "" for name, value in attrs if name in ("href", "src", "srcset"))

    Collect().feed(text)
    for reference in references:
        if reference.startswith("data:image/svg+xml;base64,"):
            assert b"<svg" in base64.b64decode(reference.partition(",")[2])
        elif reference.startswith("#"):
            assert f'id="{reference[1:]}"' in text
        elif reference.startswith("../../runs/"):
            assert re.fullmatch(r"\.\./\.\./runs/\w+-s\d-0123456789ab/", reference)
        else:
            assert (folder / reference).is_file()
    assert sum(reference.startswith("data:") for reference in references) == len(FIGURES) + 2
    assert not re.search(r"https?://|@import|<script[^>]* src", text)
    assert 'name="viewport"' in text
    assert "not comparable with the papers" in text
    assert "Test CPU 3000, 2 cores, no GPU" in text
    assert "loss became NaN &lt;at step 200&gt;" in text
    links = re.findall(r"\]\(([^)]+)\)", (folder / "README.md").read_text())
    assert links
    assert all((folder / link).is_file() for link in links)


def test_markdown_csv_and_json_hold_the_same_numbers(rendered) -> None:
    _, folder, _, _ = rendered
    cells = json.loads((folder / "ltm.table1" / "item.json").read_text())["cells"]
    with (folder / "ltm.table1" / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(cells) == 24
    text = (folder / "ltm.table1" / "table.md").read_text()
    for row, cell in zip(rows, cells, strict=True):
        assert float(row["value"]) == cell["summary"]["mean"]
        assert float(row["published"]) == cell["published"]
        assert f"{cell['summary']['mean']:.1f} ± {cell['summary']['spread']:.1f}" in text
        assert row["command"] == cell["command"] != ""
        assert len(cell["run_ids"]) == 3
    assert "| LTM | ours, 3 seeds |" in text
    assert "paper − RetinaNet (baseline) | +3.5 |" in text


def test_an_empty_cell_says_why(rendered) -> None:
    _, folder, _, _ = rendered
    text = (folder / "paa.table2_left" / "table.md").read_text()
    assert "| ATSS | ours | — [2] |" in text
    assert "[2] failed: 2 of 3 seeds done; seed 1 failed (loss became NaN <at step 200>)" in text
    assert "| MAL | paper only [1] | 38.4 |" in text


def test_figures_are_pictures_of_readable_size(rendered) -> None:
    _, folder, _, _ = rendered
    for name in FIGURES:
        height, width = matplotlib.image.imread(folder / name / "figure.png").shape[:2]
        assert width >= 1000
        assert height >= 600


def test_rendering_again_changes_no_byte_and_leaves_no_old_file(rendered, tmp_path: Path) -> None:
    report, folder, written, _ = rendered
    old = tmp_path / "ltm.table1" / "figure.png"
    old.parent.mkdir()
    old.write_bytes(b"of an earlier run")
    render(report, tmp_path)
    assert not old.exists()
    for path in written:
        again = tmp_path / path.relative_to(folder)
        assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest(), path


def test_a_report_without_any_run_shows_published_numbers(make_report, tmp_path: Path) -> None:
    render(make_report(seeds=()), tmp_path)
    text = (tmp_path / "ltm.table2" / "table.md").read_text()
    assert "| LTM | ours | — [1] |" in text
    assert "[1] not run" in text
    assert "| paper | 44.4 |" in text
    assert not (tmp_path / "ltm.fig8" / "figure.png").exists()
    assert (tmp_path / "freeanchor.fig5" / "figure.png").exists()  # the paper's bars
    assert "no finished run" in (tmp_path / "index.html").read_text()


def test_one_seed_shows_no_spread(make_report, tmp_path: Path) -> None:
    render(make_report(seeds=(0,), ids=("ltm.table1", "ltm.fig7", "ltm.fig8", "freeanchor.fig6")), tmp_path)
    text = (tmp_path / "ltm.table1" / "table.md").read_text()
    assert "One training seed: no spread" in text
    assert "±" not in text
    assert "| LTM | ours, 1 seed |" in text


def test_nothing_is_forked_from_a_process_with_threads(
    make_report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise AssertionError(f"forked with {threading.active_count()} threads")

    monkeypatch.setattr(os, "fork", fork)
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        render(make_report(seeds=(0,), ids=("ltm.fig8",)), tmp_path)
        with _drawing_processes() as start:
            assert start(os.getpid).result() != os.getpid()
            assert start(os.getppid).result() != os.getpid()
            imported = "'matplotlib.figure' in __import__('sys').modules"
            assert start(eval, imported).result(), "the server imports it once for all"
    finally:
        ended.set()
        thread.join()
    assert (tmp_path / "ltm.fig8" / "figure.svg").exists()


def test_missing_annotations_are_named(make_report, tmp_path: Path) -> None:
    report = make_report(seeds=())
    report.dataset.val.annotations.rename(report.dataset.val.annotations.with_suffix(".moved"))
    try:
        with pytest.raises(
            SuiteError, match=r"instances_val2017\.json: the evaluated split's annotations are missing"
        ):
            render(report, tmp_path)
    finally:
        report.dataset.val.annotations.with_suffix(".moved").rename(report.dataset.val.annotations)
