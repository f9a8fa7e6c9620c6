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
        assert entry is not None
        for row in experiment.rows:
            for column in experiment.columns:
                if row.published is not None and column.published is not None:
                    found += numbers.lookup(experiment.id, row.published, column.published).value is not None
        if "category" in entry.row_keys and any(row.published for row in experiment.rows):
            assert {row.published["detector"] for row in experiment.rows} <= set(entry.columns)
    assert found == 637


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("values: [41.2, 32.0, 29.0]", "values: [41.2, 32.0]", "needs 3 'values'"),
        ("- detector: LTM\n    values: [44.4", "- name: LTM\n    values: [44.4", "has no detector"),
        ("- id: ltm.table2\n", "- id: ltm.table1\n", "two entries have the id 'ltm.table1'"),
        ("paper: paa_eccv2020", "paper: paa", "paper 'paa' is unknown"),
        ("schema_version: 1", "schema_version: 2", "schema_version"),
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
