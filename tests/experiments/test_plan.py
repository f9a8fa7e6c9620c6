"""The plan: states and reasons, sharing, and what it does not import."""

import subprocess
import sys
from dataclasses import replace

import pytest

from suite.errors import SuiteError
from suite.experiments.plan import plan
from suite.experiments.schema import load_experiments
from suite.files import append_json_line, read_json, sha256, write_json
from suite.runs.adjustments import Adjustments
from suite.runs.environments import installed, record_training


@pytest.fixture
def experiments(write_experiment):
    write_experiment("ltm.table1")
    return load_experiments(write_experiment("ltm.table2").parent.parent)


def start(run, dataset):
    write_json(run.directory.spec_file, run.as_spec_json(dataset))


def finish(run, dataset):
    start(run, dataset)
    run.directory.environment_file.write_text("{}")
    run.directory.detections_file.write_bytes(b"detections")
    files = {"detections.parquet": {"bytes": 10, "sha256": sha256(run.directory.detections_file)}}
    made_by = run.identity.evaluation
    write_json(run.directory.result_file, {"metrics": {}, "evaluation": made_by, "files": files})


def log_step(run, step):
    line = {"step": step, "steps": 100, "epoch": 1, "epochs": 10, "loss": 1.0, "step_seconds": 0.1}
    append_json_line(run.directory.metrics_file, line)


def states(planned):
    return {run.spec.name: run.state for run in planned}


def test_tables_share_runs(experiments, dataset, tmp_path):
    planned = plan(experiments, "mini", [0, 1], dataset, tmp_path / "runs").runs
    assert states(planned) == dict.fromkeys(
        ["retinanet seed 0", "retinanet seed 1", "ltm seed 0", "ltm seed 1"], "new"
    )
    assert [use.experiment for use in planned[0].uses] == ["ltm.table1", "ltm.table2"]
    assert planned[0].seconds > 0
    assert planned[0].reason == "never run"


def test_an_option_at_its_default_shares_the_run(write_experiment, dataset, tmp_path):
    rows = [{"label": "RetinaNet", "method": "retinanet"}, {"label": "LTM", "method": "ltm"},
            {"label": "K = 40", "method": "ltm", "options": {"K": 40}}]  # fmt: skip
    experiments = load_experiments(write_experiment("ltm.table5", rows=rows).parent.parent)
    assert len(plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs) == 2


def test_a_finished_run_is_done_and_costs_nothing(experiments, dataset, tmp_path):
    runs = tmp_path / "runs"
    finish(plan(experiments, "mini", [0], dataset, runs).runs[0], dataset)
    done, new = plan(experiments, "mini", [0], dataset, runs).runs
    assert (done.state, done.seconds, new.state) == ("done", 0, "new")


@pytest.mark.parametrize("damage", ["truncate result.json", "truncate detections", "remove detections"])
def test_a_damaged_result_does_not_count(experiments, dataset, tmp_path, damage):
    run = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    finish(run, dataset)
    directory = run.directory
    if damage == "truncate result.json":
        directory.result_file.write_bytes(directory.result_file.read_bytes()[:20])
    elif damage == "truncate detections":
        directory.detections_file.write_bytes(b"det")
    else:
        directory.detections_file.unlink()
    again = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    assert again.state == "interrupted"
    assert ("result.json" if "result" in damage else "detections.parquet") in again.reason


def change_result(run, **fields):
    result = read_json(run.directory.result_file)
    write_json(run.directory.result_file, {**result, **fields})


def test_where_the_evaluation_changed_it_is_made_again(experiments, dataset, tmp_path):
    run = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    finish(run, dataset)
    log_step(run, 100)
    run.directory.checkpoint_file.parent.mkdir()
    run.directory.checkpoint_file.touch()
    change_result(run, evaluation={**run.identity.evaluation, "suite.inference.metric": "0"})
    again = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    assert again.run_id == run.run_id and again.state == "interrupted"
    assert 0 < again.seconds < 0.1 * run.seconds
    assert again.reason == "inference/metric.py changed; evaluated again from the last checkpoint"


def test_a_run_without_its_checkpoint_is_trained_again(experiments, dataset, tmp_path):
    run = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    finish(run, dataset)
    log_step(run, 100)
    run.directory.detections_file.unlink()
    again = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    assert again.reason == "detections.parquet is missing; its checkpoint is gone: trained again"
    assert again.seconds == run.seconds > 0


def test_a_checkpoint_counts_without_its_log(experiments, dataset, tmp_path):
    run = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    start(run, dataset)
    run.directory.environment_file.write_text("{}")
    run.directory.checkpoint_file.parent.mkdir()
    run.directory.checkpoint_file.touch()
    again = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    assert (again.state, again.reason) == ("interrupted", "goes on from its last checkpoint")


def test_a_result_of_another_format_is_made_again(experiments, dataset, tmp_path):
    run = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    finish(run, dataset)
    change_result(run, evaluation=None)
    again = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    assert again.reason.startswith("an earlier version of the suite evaluated it; ")


def test_no_other_file_makes_an_old_result_count(experiments, dataset, tmp_path):
    """A driver that is killed just after writing the new spec leaves the old result as what it is: old."""
    run = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    finish(run, dataset)
    change_result(run, evaluation={**run.identity.evaluation, "suite.inference.metric": "0"})
    run.write(dataset)
    assert not run.is_done and not run.directory.is_complete()
    assert plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0].state == "interrupted"


def test_a_result_that_another_driver_finished_meanwhile_stays(experiments, dataset, tmp_path):
    planned = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    finish(planned, dataset)  # by somebody else, after planning
    planned.write(dataset)
    assert planned.is_done and planned.directory.is_complete()


def test_interrupted_and_failed_runs_say_so(experiments, dataset, tmp_path):
    runs = tmp_path / "runs"
    first, second = plan(experiments, "mini", [0], dataset, runs).runs
    start(first, dataset)
    log_step(first, 40)
    first.directory.checkpoint_file.parent.mkdir()
    first.directory.checkpoint_file.touch()
    start(second, dataset)
    first.directory.environment_file.write_text("{}")
    second.directory.environment_file.write_text("{}")
    second.directory.write_failure("loss_cls is nan\n  at step 3")
    first_again, second_again = plan(experiments, "mini", [0], dataset, runs).runs
    assert (first_again.state, first_again.reason) == ("interrupted", "goes on after step 40 of 100")
    assert first_again.seconds == pytest.approx((0.6 * 0.95 + 0.05) * first.seconds)
    assert (second_again.state, second_again.reason) == ("failed", "failed before: loss_cls is nan at step 3")


def test_a_stale_run_names_what_changed(experiments, dataset, tmp_path):
    runs = tmp_path / "runs"
    run = plan(experiments, "mini", [0], dataset, runs).runs[1]
    spec = run.as_spec_json(dataset)
    spec["identity"]["training"]["suite.detectors.ltm_head"] = "0"
    spec["identity"]["config"]["train_cfg"]["max_epochs"] = 7
    write_json(runs / "ltm-s0-000000000000" / "spec.json", spec)
    stale = plan(experiments, "mini", [0], dataset, runs).runs[1]
    assert stale.state == "stale"
    assert "detectors/ltm_head.py changed" in stale.reason
    assert "train_cfg.max_epochs: 7 -> " in stale.reason


def earlier(run, dataset, change):
    """An earlier run of the same spec, with another identity."""
    spec = run.as_spec_json(dataset)
    change(spec)
    write_json(run.directory.path.parent / f"{run.spec.method}-s0-000000000000" / "spec.json", spec)


CHANGES = {
    "GPUs": (lambda spec: spec["identity"]["machine"].update(processes=8), "machine.processes: 8 -> 1"),
    "device": (lambda spec: spec["identity"]["machine"].update(device="GPU"), "machine.device: GPU -> CPU"),
    "start weights": (
        lambda spec: spec["identity"]["config"].update(load_from="sha256:1"),
        "load_from: sha256:1 -> absent",
    ),
    "a hook": (
        lambda spec: spec["identity"]["config"].update(custom_hooks=[{"type": "EMAHook"}]),
        "custom_hooks.0.type: EMAHook -> absent",
    ),
    "code": (
        lambda spec: spec["identity"]["training"].update({"suite.training.data": "0"}),
        "training/data.py",
    ),
    "own code": (lambda spec: spec["identity"]["training"].update(mine="0"), "mine changed"),
    "training images": (
        lambda spec: spec["identity"]["data"].update(training="0"),
        "the training images or annotations changed",
    ),
    "validation images": (
        lambda spec: spec["identity"]["data"].update(validation="0"),
        "the validation images or annotations changed",
    ),
    "an earlier suite": (
        lambda spec: spec.update(identity={"config": {}, "sources": {}}),
        "an earlier version of the suite wrote its identity",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_reason_names_what_changed(experiments, dataset, tmp_path, name):
    change, reason = CHANGES[name]
    runs = tmp_path / "runs"
    earlier(plan(experiments, "mini", [0], dataset, runs).runs[1], dataset, change)
    stale = plan(experiments, "mini", [0], dataset, runs).runs[1]
    assert stale.state == "stale" and reason in stale.reason


def test_another_dataset_is_not_called_stale(experiments, dataset, tmp_path):
    runs = tmp_path / "runs"
    earlier(
        plan(experiments, "mini", [0], dataset, runs).runs[0],
        dataset,
        lambda spec: spec["dataset"].update(fingerprint="0", root="/elsewhere"),
    )
    again = plan(experiments, "mini", [0], dataset, runs).runs[0]
    assert (again.state, again.reason) == ("new", "never run on this dataset")


def test_a_root_whose_photos_changed_is_called_stale(experiments, dataset, tmp_path):
    runs, root = tmp_path / "runs", replace(dataset, kind="coco")
    old = plan(experiments, "mini", [0], root, runs).runs[0]
    write_json(old.directory.spec_file, old.as_spec_json(root))
    changed = replace(root, val=replace(root.val, fingerprint="changed"))
    again = plan(experiments, "mini", [0], changed, runs).runs[0]
    assert again.run_id != old.run_id
    assert (again.state, again.reason) == ("stale", "the validation images or annotations changed")


def test_a_run_of_another_dataset_shares_the_training_where_only_the_validation_images_changed(
    experiments, dataset, tmp_path
):
    runs = tmp_path / "runs"
    old = plan(experiments, "mini", [0], dataset, runs).runs[0]
    finish(old, dataset)
    old.directory.checkpoint_file.parent.mkdir()
    old.directory.checkpoint_file.touch()
    changed = replace(dataset, val=replace(dataset.val, fingerprint="changed"))
    again = plan(experiments, "mini", [0], changed, runs).runs[0]
    assert again.donor is not None and again.donor.run_id == old.run_id


def test_a_complete_run_of_other_versions_says_so(experiments, dataset, tmp_path):
    run = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    finish(run, dataset)
    packages = {"torch": "1.0.0", "onedl-mmcv": installed("onedl-mmcv")}
    record_training(run.directory, {"packages": packages}, {}, 0)
    again = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    assert again.state == "done"
    assert again.reason == f"complete; trained with torch 1.0.0 (here {installed('torch')})"


def test_a_run_in_work_is_seen(experiments, dataset, tmp_path):
    run = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    start(run, dataset)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.flock(f, fcntl.LOCK_EX);"
         "print('held', flush=True); sys.stdin.read()", str(run.directory.lock_file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == b"held\n"
        assert plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0].state == "running"
    finally:
        holder.communicate()
    again = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs[0]
    assert (again.state, again.reason) == ("new", "planned before, never started")


def test_unknown_names_say_which_table_and_row(write_experiment, dataset, tmp_path):
    rows = [{"label": "RetinaNet", "method": "retinanet"}, {"label": "Ours", "method": "lmt"}]
    experiments = load_experiments(write_experiment("ltm.table1", rows=rows).parent.parent)
    with pytest.raises(
        SuiteError, match=r"ltm\.table1, row 'Ours': method 'lmt' is unknown\. Did you mean 'ltm'"
    ):
        plan(experiments, "mini", [0], dataset, tmp_path / "runs")


def test_options_that_do_not_go_together_say_which_table_and_row(write_experiment, dataset, tmp_path):
    rows = [{"label": "RetinaNet", "method": "retinanet"},
            {"label": "Few of more", "method": "ltm", "options": {"S": 60}}]  # fmt: skip
    experiments = load_experiments(write_experiment("ltm.table3", rows=rows).parent.parent)
    with pytest.raises(SuiteError, match=r"ltm\.table3, row 'Few of more': .*sample_size: expected at most"):
        plan(experiments, "mini", [0], dataset, tmp_path / "runs")


@pytest.fixture
def sharing(write_experiment):
    rows = [{"label": "PAA", "method": "paa"},
            {"label": "no voting", "method": "paa", "options": {"voting": False}}]  # fmt: skip
    return load_experiments(write_experiment("paa.table1", rows=rows, baseline="PAA").parent.parent)


def test_a_run_that_only_tests_otherwise_takes_over_a_planned_training(sharing, dataset, tmp_path):
    first, second = plan(sharing, "mini", [0], dataset, tmp_path / "runs").runs
    assert first.donor is None and second.donor.run_id == first.run_id
    assert (second.state, second.reason) == ("new", f"evaluates the training of {first.run_id}")
    assert 0 < second.seconds < 0.1 * first.seconds


def test_the_training_of_a_complete_run_is_taken_over_whatever_the_order(sharing, dataset, tmp_path):
    second = plan(sharing, "mini", [0], dataset, tmp_path / "runs").runs[1]
    finish(second, dataset)
    second.directory.checkpoint_file.parent.mkdir()
    second.directory.checkpoint_file.touch()
    first, second = plan(sharing, "mini", [0], dataset, tmp_path / "runs").runs
    assert first.donor.run_id == second.run_id and second.donor is None
    second.directory.checkpoint_file.unlink()
    first, second = plan(sharing, "mini", [0], dataset, tmp_path / "runs").runs
    assert first.donor is None and second.state == "done"


def test_a_complete_run_that_is_not_planned_gives_its_training_too(
    sharing, dataset, tmp_path, write_experiment
):
    second = plan(sharing, "mini", [0], dataset, tmp_path / "runs").runs[1]
    finish(second, dataset)
    second.directory.checkpoint_file.parent.mkdir()
    second.directory.checkpoint_file.touch()
    alone = load_experiments(
        write_experiment("paa.table1", rows=[{"label": "PAA", "method": "paa"}], baseline="PAA").parent.parent
    )
    (run,) = plan(alone, "mini", [0], dataset, tmp_path / "runs").runs
    assert run.donor.run_id == second.run_id


def test_a_run_with_a_checkpoint_of_its_own_goes_on_from_it(sharing, dataset, tmp_path):
    second = plan(sharing, "mini", [0], dataset, tmp_path / "runs").runs[1]
    start(second, dataset)
    second.directory.environment_file.write_text("{}")
    log_step(second, 40)
    second.directory.checkpoint_file.parent.mkdir()
    second.directory.checkpoint_file.touch()
    first, second = plan(sharing, "mini", [0], dataset, tmp_path / "runs").runs
    assert first.donor.run_id == second.run_id
    assert (second.donor, second.reason) == (None, "goes on after step 40 of 100")


def test_planning_imports_nothing_heavy(project):
    code = (
        "import sys, pathlib; from suite.workspace import Workspace;"
        "from suite.workflow import Request, make_plan;"
        "make_plan(Request('mini', 'core', (), None, Workspace(pathlib.Path('.'))));"
        "heavy = {'torch', 'ray', 'mlflow', 'matplotlib', 'cv2'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_longer_schedule_costs_as_much_more(write_experiment, dataset, tmp_path):
    rows = [
        {"label": "RetinaNet", "method": "retinanet"},
        {"label": "long", "method": "retinanet", "options": {"schedule": "2x"}},
    ]
    experiments = load_experiments(
        write_experiment("ltm.table1", rows=rows, factor=["schedule"]).parent.parent
    )
    large = replace(dataset, train=replace(dataset.train, n_images=100_000))
    short, long = plan(experiments, "paper", [0], large, tmp_path / "runs").runs
    assert long.seconds == pytest.approx(2 * short.seconds, rel=0.01)
    (same,) = plan(experiments, "mini", [0], dataset, tmp_path / "runs").runs  # one schedule: one run
    assert [use.row for use in same.uses] == ["RetinaNet", "long"]


def test_a_donor_s_checkpoint_costs_its_disk_once(write_experiment, dataset, tmp_path):
    rows = [{"label": "PAA", "method": "paa"},
            {"label": "no voting", "method": "paa", "options": {"voting": False}}]  # fmt: skip
    experiments = load_experiments(write_experiment("paa.table1", rows=rows, baseline="PAA").parent.parent)
    first, second = plan(experiments, "paper", [0], dataset, tmp_path / "runs").runs
    assert second.donor is not None
    assert second.disk_mb < first.disk_mb - 250  # R-50 with SGD's moments


def test_adjusted_runs_stand_beside_plain_ones(experiments, dataset, tmp_path):
    runs = tmp_path / "runs"
    plain = plan(experiments, "mini", [0], dataset, runs).runs
    finish(plain[0], dataset)
    adjusted = plan(experiments, "mini", [0], dataset, runs, Adjustments(batch=4)).runs
    assert {run.state for run in adjusted} == {"new"}  # not stale: both are asked for
    assert not {run.run_id for run in plain} & {run.run_id for run in adjusted}
    assert plan(experiments, "mini", [0], dataset, runs).runs[0].state == "done"
