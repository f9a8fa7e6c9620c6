"""environment.json: what trained and evaluated a run, and where a table's rows were not computed alike."""

from suite.files import read_json
from suite.runs.directory import RunDirectory
from suite.runs.environments import (
    computed_with,
    differences,
    installed,
    mixes,
    read_environments,
    record_evaluation,
    record_training,
)

DATASET = {"name": "three"}


def machine(torch="2.13.0", gpus=(), cuda=None):
    return {"packages": {"torch": torch}, "cuda": cuda, "hardware": {"gpus": list(gpus)}}


def test_a_training_that_goes_on_elsewhere_keeps_both(tmp_path):
    run = RunDirectory(tmp_path)
    record_training(run, machine(), DATASET, 0)
    record_training(run, machine(), DATASET, 3)  # the same machine again
    record_training(run, machine(torch="2.14.0"), DATASET, 5)
    record_evaluation(run, machine(torch="2.15.0"), DATASET)
    found = read_json(run.environment_file)
    assert [(one["from_epoch"], one["packages"]["torch"]) for one in found["training"]] == [
        (0, "2.13.0"), (5, "2.14.0"),
    ]  # fmt: skip
    assert found["evaluation"]["packages"]["torch"] == "2.15.0"
    assert found["dataset"] == DATASET
    assert computed_with(run)["torch"] == ("2.13.0", "2.14.0", "2.15.0")


def test_a_training_that_starts_again_forgets_the_one_before(tmp_path):
    run = RunDirectory(tmp_path)
    record_training(run, machine(torch="1.0"), DATASET, 0)
    record_training(run, machine(), DATASET, 0)
    assert [one["packages"]["torch"] for one in read_environments(run)["training"]] == ["2.13.0"]


def test_an_evaluation_made_again_leaves_the_trainings_versions(tmp_path):
    run = RunDirectory(tmp_path)
    record_training(run, machine(), DATASET, 0)
    record_evaluation(run, machine(torch="2.14.0"), DATASET)
    assert differences(run)[0].startswith("trained with torch 2.13.0 (here ")
    assert f"evaluated with torch 2.14.0 (here {installed('torch')})" in differences(run)


def test_a_missing_or_damaged_file_says_nothing(tmp_path):
    run = RunDirectory(tmp_path)
    for content in (None, "{", "[]", '{"training": 3}', '{"packages": {"torch": "1"}}'):
        if content is not None:
            run.environment_file.write_text(content)
        assert differences(run) == [] and computed_with(run) == {}
        assert mixes({"LTM": [run]}) == []


def test_rows_that_were_not_computed_alike_are_named(tmp_path):
    runs = {}
    for name, here in (
        ("RetinaNet", machine(torch="2.12.0", gpus=["V100"], cuda="12.1")),
        ("FreeAnchor", machine(gpus=["H200", "H200"], cuda="13.0")),
        ("LTM", machine(gpus=["H200"], cuda="13.0")),
    ):
        runs[name] = RunDirectory(tmp_path / name)
        runs[name].path.mkdir()
        record_training(runs[name], here, DATASET, 0)
    assert mixes({name: [run] for name, run in runs.items()}) == [
        "Not all rows were computed with one torch: 2.12.0: RetinaNet; 2.13.0: FreeAnchor, LTM.",
        "Not all rows were computed with one CUDA: 12.1: RetinaNet; 13.0: FreeAnchor, LTM.",
        "Not all rows were computed with one GPU: H200: FreeAnchor, LTM; V100: RetinaNet.",
    ]
    assert mixes({name: [runs[name]] for name in ("FreeAnchor", "LTM")}) == []
