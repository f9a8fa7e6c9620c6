"""Experiment files: what is accepted, and what each mistake is answered with."""

import pytest

from suite.errors import SuiteError
from suite.experiments.schema import load_experiments, select


def load(path):
    return load_experiments(path.parent.parent)


def test_a_good_file_is_read(write_experiment):
    (experiment,) = load(write_experiment("ltm.table1", core=True))
    assert [row.method for row in experiment.rows] == ["retinanet", "ltm"]
    assert experiment.core


def test_the_projects_own_files_are_valid(project):
    experiments = load_experiments(project / "experiments")
    core = {experiment.id for experiment in select(experiments, "core")}
    assert core >= {
        "freeanchor.table1", "freeanchor.table2", "freeanchor.fig5", "freeanchor.fig6", "ltm.table1",
        "ltm.table2", "ltm.table4", "ltm.fig7", "ltm.fig8", "paa.table2_left",
    }  # fmt: skip


def test_unknown_field_names_file_line_and_the_nearest(write_experiment):
    path = write_experiment("ltm.table1", tittle="x")
    line = 1 + next(n for n, text in enumerate(path.read_text().splitlines()) if "tittle" in text)
    with pytest.raises(
        SuiteError, match=rf"table1\.yaml:{line}: field tittle: unknown field\. Did you mean 'title'"
    ):
        load(path)


def test_unknown_field_in_a_row_is_compared_with_a_rows_fields(write_experiment):
    path = write_experiment("ltm.table1", rows=[{"label": "RetinaNet", "method": "retinanet", "optoins": {}}])
    with pytest.raises(SuiteError, match=r"field rows\.0\.optoins: unknown field\. Did you mean 'options'"):
        load(path)


def test_malformed_yaml_names_the_line(tmp_path):
    path = tmp_path / "experiments" / "ltm" / "table1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("id: ltm.table1\ntitle: [unclosed\nquestion: x\n")
    with pytest.raises(SuiteError, match=r"table1\.yaml:[23]: not valid YAML"):
        load(path)


def test_a_field_given_twice_is_refused(tmp_path):
    path = tmp_path / "experiments" / "ltm" / "table1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("id: ltm.table1\ntitle: a\ntitle: b\n")
    with pytest.raises(SuiteError, match=r"table1\.yaml:3: .*'title' stands twice"):
        load(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"baseline": "RetinaNett"}, r"yaml:6: field baseline: 'RetinaNett'.*Did you mean 'RetinaNet'"),
        (
            {"baseline": None},
            r"yaml:6: field baseline: missing; expected the label of the row .* 'RetinaNet', 'LTM'",
        ),
        ({"rows": []}, r"yaml:7: field rows: at least one row with a 'method'"),
        ({"columns": []}, r"yaml:5: field kind: a table needs 'columns'"),
        ({"kind": "figure"}, r"yaml:5: field kind: a figure needs the field 'figure'"),
        ({"kind": "graph"}, r"field kind.*found 'graph'"),
        (
            {"rows": [{"label": "RetinaNet", "method": "retinanet"}] * 2},
            r"field rows: two are labelled 'RetinaNet'",
        ),
        ({"rows": [{"label": "RetinaNet", "method": "retinanet"}, {"label": "x"}]}, r"rows\.1.*a row needs"),
        ({"columns": [{"label": "AP", "metric": "AP"}] * 2}, r"field columns: two are labelled 'AP'"),
        ({"picture": {"kind": "mixture"}}, r"field picture: an item with a picture has neither"),
        ({"claims": [{"text": "x", "kind": "gain"}]}, r"field claims\.0: .*'gain' needs a 'row'"),
        (
            {"claims": [{"text": "x", "kind": "trend", "row": "LTM"}]},
            r"field claims\.0: .*is about all rows: leave 'row' out",
        ),
        (
            {"claims": [{"text": "x", "kind": "gain", "row": "LTM", "last": "AP"}]},
            r"field claims\.0: .*no such field; it is one of gain_rises",
        ),
        (
            {"claims": [{"text": "x", "kind": "gain", "row": "LTM", "margin": 0}]},
            r"field claims\.0\.margin: .*greater than 0",
        ),
        (
            {"claims": [{"text": "x", "kind": "gain", "row": "LTM", "expected": "up"}]},
            r"field claims\.0\.expected: .*'no difference'.*found 'up'",
        ),
        ({"factor": []}, r"field factor"),
    ],
)
def test_inconsistent_files_are_refused(write_experiment, fields, message):
    path = write_experiment("ltm.table1", **fields)
    with pytest.raises(SuiteError, match=message) as caught:
        load(path)
    assert str(path) in caught.value.message


def test_the_id_must_be_the_files_name(write_experiment):
    path = write_experiment("ltm.table1")
    path.rename(path.with_name("table9.yaml"))
    with pytest.raises(SuiteError, match=r"expected 'ltm\.table9'.*found 'ltm\.table1'"):
        load(path)


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", "0.001", "+1e-3"])
def test_numbers_with_an_exponent_are_numbers(write_experiment, text):
    path = write_experiment("ltm.table1")
    path.write_text(
        path.read_text().replace('"method": "ltm"', f'"method": "ltm", "options": {{"lr": {text}}}')
    )
    (experiment,) = load(path)
    assert experiment.rows[1].options == {"lr": 0.001}


def test_an_empty_folder_says_where_to_run(tmp_path):
    with pytest.raises(SuiteError, match="Run the command from the project's folder"):
        load_experiments(tmp_path)


def test_selection(write_experiment):
    write_experiment("ltm.table1", core=True)
    experiments = load(write_experiment("ltm.table2"))
    assert [one.id for one in select(experiments, "core")] == ["ltm.table1"]
    assert [one.id for one in select(experiments, "all")] == ["ltm.table1", "ltm.table2"]
    assert [one.id for one in select(experiments, "ltm.table2, ltm.table1")] == ["ltm.table2", "ltm.table1"]
    assert [one.id for one in select(experiments, "core,ltm.table2,all")] == ["ltm.table1", "ltm.table2"]
    with pytest.raises(SuiteError, match="no experiment is named"):
        select(experiments, " , ")
    with pytest.raises(SuiteError, match=r"'ltm\.tabel2' is unknown\. Did you mean 'ltm\.table2'"):
        select(experiments, "ltm.tabel2")


def test_a_picture_needs_no_rows(write_experiment):
    path = write_experiment(
        "ltm.fig2", kind="figure", picture={"kind": "matching_functions"}, rows=[], columns=[], baseline=None
    )
    (experiment,) = load(path)
    assert experiment.picture is not None
    assert experiment.paper == "ltm"


def test_a_place_in_the_file_is_told_by_its_line(write_experiment):
    path = write_experiment("ltm.table1")
    (experiment,) = load(path)
    line = 1 + next(n for n, text in enumerate(path.read_text().splitlines()) if '"LTM"' in text)
    assert experiment.at("rows", 1, "label") == f"{path}:{line}: field rows.1.label"
