"""The published numbers and the questions they answer."""

from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.experiments.schema import Experiment
from suite.reporting.paper_numbers import FILE, PaperNumbers, paper_numbers


def test_numbers_reasons_and_mistakes() -> None:
    numbers = paper_numbers()
    assert numbers.lookup("ltm.table2", {"detector": "LTM"}, "dense").value == 32.7
    mal = numbers.lookup("paa.table2_left", {"method": "MAL"}, "APS")
    assert (mal.value, mal.reason) == (None, "not published as a number (inferred)")
    assert numbers.lookup("ltm.table99", {}, "AP").reason == "not published"
    with pytest.raises(SuiteError, match="row key 'name' is unknown; expected detector"):
        numbers.lookup("ltm.table1", {"name": "LTM"}, "AP")
    with pytest.raises(SuiteError, match="fits 0 rows"):
        numbers.lookup("ltm.table1", {"detector": "MTL"}, "AP")
    with pytest.raises(SuiteError, match="fits 2 rows"):
        numbers.lookup("freeanchor.table2", {"detector": "FreeAnchor"}, "AP")
    with pytest.raises(SuiteError, match=r"no column 'AP55'.*Did you mean 'AP"):
        numbers.lookup("ltm.table1", {"detector": "LTM"}, "AP55")


def test_every_shipped_experiment_points_at_existing_rows_and_columns(
    shipped_experiments: list[Experiment],
) -> None:
    numbers = paper_numbers()
    found = 0
    for experiment in shipped_experiments:
        entry = numbers.entry_of(experiment)
        if experiment.id == "alrp.quality":  # of no paper
            assert entry is None
            continue
        assert entry is not None
        for row in experiment.rows:
            for column in experiment.columns:
                if row.published is not None and column.published is not None:
                    found += numbers.lookup(experiment.id, row.published, column.published).value is not None
        if "category" in entry.row_keys and any(row.published for row in experiment.rows):
            assert {row.published["detector"] for row in experiment.rows} <= set(entry.columns)
    assert found == 667


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("values: [41.2, 32.0, 29.0]", "values: [41.2, 32.0]", "needs 3 'values'"),
        ("- detector: LTM\n    values: [44.4", "- name: LTM\n    values: [44.4", "has no detector"),
        ("- id: ltm.table2\n", "- id: ltm.table1\n", "two entries have the id 'ltm.table1'"),
        ("paper: paa_eccv2020", "paper: paa", "paper 'paa' is unknown"),
        ("schema_version: 1", "schema_version: 2", "schema_version"),
        ("split: test-dev2017", "split: test", "split: Input should be 'val2017'"),
        ("split: test-dev2017", "split: null", "has numbers in percent and no 'split'"),
        ("splits: [val2017, test-dev2017]", "splits: [val2017]", "needs 2 'splits'"),
        ("row: {K: 40}}", "row: {K: 41}}", "same_detector: ltm.table5a {'K': 41} fits 0 rows"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = FILE.read_text()
    assert old in text
    path = tmp_path / "numbers.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(SuiteError, match=message):
        PaperNumbers(path)


@pytest.mark.parametrize(
    ("place", "column", "split", "value", "source"),
    [
        (("paa.table2_left", {"method": "Ours"}), "AP", "val2017", 41.0, "Table 2 (left) (paa.table2_left)"),
        (("paa.table2_left", {"method": "Ours"}), "AP", "test-dev2017", None, ""),
        (("ltm.table1", {"detector": "LTM"}), "AP", "test-dev2017", 39.2, "Table 1 (ltm.table1)"),
        (("ltm.table1", {"detector": "LTM"}), "AP", "val2017", 38.4, "Table 5a (ltm.table5a)"),
        (("ltm.table1", {"detector": "LTM"}), "APL", "val2017", 50.7, "Table 3 (ltm.table3)"),
        (("ltm.table1", {"detector": "RetinaNet (K anchors)"}), "AP", "val2017", None, ""),
        (("freeanchor.table2", {"backbone": "ResNet-101", "detector": "FreeAnchor"}), "AP", "val2017", 40.5,
         "github zhangxiaosong18/FreeAnchor README.md @afad43a"),
        (("freeanchor.table2", {"backbone": "ResNet-101", "detector": "FreeAnchor"}), "AP50", "val2017", None,
         ""),
        (("ltm.table6", {"backbone": "ResNet-50", "detector": "RetinaNet"}), "AP", "val2017", 35.6,
         "github open-mmlab/mmdetection docs/MODEL_ZOO.md of version 1 (RetinaNet, pytorch style)"),
    ],
)  # fmt: skip
def test_a_number_of_the_same_detector_on_another_split(place, column, split, value, source) -> None:
    found = paper_numbers().on_split(*place, column, split)
    assert (found and found.value) == value
    if found:
        assert (found.split, found.source) == (split, source)
