"""A damaged file costs the cells that rest on it, with the reason in them, and nothing else of a report."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from suite.reporting.inputs import ReportInput
from suite.reporting.render import render
from suite.runs.directory import RunDirectory


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def without_its_end(content: bytes) -> bytes:
    return content[:-200] + bytes(200)


def other_data_pages(content: bytes) -> bytes:
    return content[:4] + bytes([255]) * (len(content) // 2) + content[4 + len(content) // 2 :]


DAMAGES = [zeros, without_its_end, other_data_pages]


def with_damaged_run(report: ReportInput, method: str, folder: Path, damage: Callable) -> ReportInput:
    """The report with a damaged copy of a method's run of seed 0, which still counts as done."""
    items = []
    for given in report.experiments:
        runs = {}
        for label, own in given.runs.items():
            runs[label] = own
            if own and own[0].directory is not None and own[0].run_id.startswith(f"{method}-"):
                copy = RunDirectory(folder / own[0].run_id)
                if not copy.path.exists():
                    shutil.copytree(own[0].directory.path, copy.path)
                    damage(copy)
                    assert copy.result() is not None
                runs[label] = [replace(own[0], directory=copy), *own[1:]]
        items.append(replace(given, runs=runs))
    return replace(report, experiments=items)


def cells_of(folder: Path, identifier: str) -> dict[tuple[str, str], dict]:
    content = json.loads((folder / identifier / "item.json").read_text())
    return {(cell["row"], cell["column"]): cell for cell in content["cells"]}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_detections_cost_the_cells_of_their_row(make_report, tmp_path: Path, damage) -> None:
    def spoil(run: RunDirectory) -> None:
        run.detections_file.write_bytes(damage(run.detections_file.read_bytes()))

    report = make_report(seeds=(0, 1), ids=("ltm.table2", "ltm.table4", "ltm.fig8"))
    render(with_damaged_run(report, "ltm", tmp_path / "runs", spoil), tmp_path / "report")
    cells = cells_of(tmp_path / "report", "ltm.table2")
    cell = cells["LTM", "dense"]
    file = tmp_path / "runs" / "ltm-s0-0123456789ab" / "detections.parquet"
    assert cell["summary"] is None and cell["reason"].startswith(f"cannot be measured: {file}: cannot read (")
    assert "Delete the file and run the experiment again" in cell["reason"]
    assert cells["RetinaNet (baseline)", "dense"]["summary"]["n"] == 2
    assert cells["relative improvement (%)", "dense"]["reason"] == cell["reason"]
    assert cells_of(tmp_path / "report", "ltm.table4")["LTM", "NR"]["summary"]["n"] == 2, "coverage is whole"
    assert (tmp_path / "report" / "ltm.fig8" / "figure.png").exists()
    assert str(file) in (tmp_path / "report" / "ltm.table2" / "table.md").read_text()
    assert str(file) in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_coverage_costs_the_cells_of_nms_recall(make_report, tmp_path: Path, damage) -> None:
    def spoil(run: RunDirectory) -> None:
        run.coverage_file.write_bytes(damage(run.coverage_file.read_bytes()))

    report = make_report(seeds=(0,), ids=("ltm.table1", "ltm.table4"))
    render(with_damaged_run(report, "ltm", tmp_path / "runs", spoil), tmp_path / "report")
    cells = cells_of(tmp_path / "report", "ltm.table4")
    assert all(
        ("coverage.parquet: cannot read (" in cell["reason"]) == (row == "LTM")
        for (row, _), cell in cells.items()
    )
    assert all(cell["summary"] for cell in cells_of(tmp_path / "report", "ltm.table1").values())


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("detections", lambda frame: frame.drop(columns="score"), "no column score; found image_id"),
        ("detections", lambda frame: frame.assign(score="high"), "column 'score' is not of numbers"),
        ("detections", lambda frame: frame.assign(image_id=99999), "image_id not in the ground truth"),
        ("coverage", lambda frame: frame.drop(columns="annotation_id"), "no column 'annotation_id'"),
        ("coverage", lambda frame: frame.drop(columns="iou_after"), "no column 'iou_after'"),
        ("coverage", lambda frame: frame.assign(iou_before=7.0), "iou_before has values outside [0, 1]"),
        ("coverage", lambda frame: frame.head(3), "3 objects; the annotations have"),
    ],
)
def test_files_of_another_form_are_named_too(make_report, tmp_path: Path, name, change, reason) -> None:
    def spoil(run: RunDirectory) -> None:
        file = run.path / f"{name}.parquet"
        change(pd.read_parquet(file)).to_parquet(file)
        result = json.loads(run.result_file.read_text())
        result["files"][file.name]["bytes"] = file.stat().st_size
        run.result_file.write_text(json.dumps(result))

    identifier = "ltm.table4" if name == "coverage" else "ltm.table2"
    report = with_damaged_run(make_report(seeds=(0,), ids=(identifier,)), "ltm", tmp_path / "runs", spoil)
    render(report, tmp_path / "report")
    cells = cells_of(tmp_path / "report", identifier)
    found = cells["LTM", "NR" if name == "coverage" else "dense"]["reason"]
    assert f"{name}.parquet: " in found and reason in found and "un the experiment again" in found
    assert "\n" not in found
    assert any(cell["summary"] for cell in cells.values())


def test_a_damaged_environment_file_empties_no_cell(make_report, tmp_path: Path) -> None:
    def spoil(run: RunDirectory) -> None:
        run.environment_file.write_text('{"packages": ["torch"], "hardware": 3}')

    report = make_report(seeds=(0,), ids=("ltm.table2",))
    render(with_damaged_run(report, "ltm", tmp_path / "runs", spoil), tmp_path / "report")
    assert all(cell["summary"] for cell in cells_of(tmp_path / "report", "ltm.table2").values())
