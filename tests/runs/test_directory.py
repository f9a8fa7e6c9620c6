"""A run directory: what counts as complete, and how far an incomplete run is."""

import pytest

from suite.errors import SuiteError
from suite.files import append_json_line, sha256, write_json
from suite.runs.directory import RunDirectory


@pytest.fixture
def complete(tmp_path):
    run = RunDirectory(tmp_path / "ltm-s0-0123456789ab")
    run.path.mkdir()
    run.detections_file.write_bytes(b"detections")
    described = {"bytes": 10, "sha256": sha256(run.detections_file)}
    write_json(run.result_file, {"metrics": {"AP": 0.4}, "files": {"detections.parquet": described}})
    return run


def test_a_complete_run_has_its_result(complete):
    assert complete.result()["metrics"] == {"AP": 0.4}
    assert complete.run_id == "ltm-s0-0123456789ab"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda run: run.result_file.unlink(), "no result yet"),
        (lambda run: run.result_file.write_text("{"), "result.json is damaged"),
        (lambda run: run.result_file.write_text("[]"), "result.json is damaged"),
        (lambda run: run.result_file.write_text('{"metrics": {}}'), "result.json is damaged"),
        (lambda run: run.result_file.write_text('{"metrics": {}, "files": [1]}'), "result.json is damaged"),
        (
            lambda run: run.result_file.write_text('{"metrics": {}, "files": {"a": 3}}'),
            "result.json is damaged",
        ),
        (lambda run: run.detections_file.unlink(), "detections.parquet is missing"),
        (lambda run: run.detections_file.write_bytes(b"short"), "detections.parquet is damaged"),
    ],
)
def test_damage_makes_it_incomplete(complete, damage, problem):
    damage(complete)
    assert complete.result_problem() == problem
    assert complete.result() is None


def test_progress_is_the_last_logged_step(complete):
    assert complete.progress() is None
    for step in (10, 20):
        line = {"step": step, "steps": 100, "epoch": 1, "epochs": 5, "loss": 2.0, "step_seconds": 0.5}
        append_json_line(complete.metrics_file, line)
    append_json_line(complete.metrics_file, {"step": 20, "epoch": 1, "val_AP": 0.1})
    progress = complete.progress()
    assert (progress.step, progress.steps, progress.loss, progress.eta_seconds) == (20, 100, 2.0, 40.0)


@pytest.mark.parametrize("line", [b'{"step": 20, "loss": 2.0}', b'{"loss": "\xff"}', b"[]", b"{"])
def test_a_damaged_log_tells_no_progress(complete, line):
    complete.metrics_file.write_bytes(line + b"\n")
    assert complete.progress() is None


def test_failures_are_kept_and_forgotten(complete):
    assert complete.failure() is None
    complete.write_failure("loss_cls is nan")
    assert complete.failure() == "loss_cls is nan"
    complete.clear_failure()
    assert complete.failure() is None


def test_a_spec_without_identity_is_refused(complete):
    write_json(complete.spec_file, {"method": "ltm"})
    with pytest.raises(SuiteError, match=r"spec\.json: not a run's specification"):
        complete.spec()
