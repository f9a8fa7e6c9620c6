"""Times and disk of runs: from calibration, from finished runs, from the table."""

from dataclasses import replace

import pytest

from suite.errors import SuiteError
from suite.experiments.calibration import calibration_file, read_paces, record
from suite.experiments.costs import (
    CALIBRATED,
    FINISHED,
    SCALED,
    TABLE,
    Costs,
    Pace,
    checkpoint_mb,
    is_this_machine,
    paces_of_finished,
    work_of,
)  # fmt: skip
from suite.files import sha256, write_json
from suite.machine import cpu_count, cpu_model
from suite.runs.adjustments import NONE, Adjustments
from suite.runs.environments import COMPUTES, installed
from suite.runs.options import at_preset
from suite.runs.presets import resources_of
from suite.runs.resolved import resolve_run
from suite.runs.spec import RunSpec
from suite.workspace import Workspace

HERE = {
    "packages": {package: installed(package) for package in COMPUTES},
    "hardware": {"cpu": cpu_model(), "cores": int(cpu_count()), "gpus": []},
}


@pytest.fixture
def coco(dataset):
    """A dataset of COCO's size."""
    return replace(
        dataset,
        train=replace(dataset.train, n_images=118_287),
        val=replace(dataset.val, n_images=5000),
    )


@pytest.fixture
def make(coco, tmp_path):
    def run(method="retinanet", preset="paper", adjustments=NONE, seed=0, data=coco, **options):
        options = at_preset(method, options, preset).options
        spec = RunSpec(method, preset, seed, options, adjustments)
        return resolve_run(spec, data, resources_of(method, preset, adjustments), tmp_path / "runs")

    return run


def hours(runs, dataset, preset="paper", calibrated=(), finished=()):
    costs = Costs(preset, dataset, dict(calibrated), dict(finished)).of(runs)
    return [cost.seconds / 3600 for cost in costs]


def test_by_the_table_a_1x_training_of_r50_takes_what_the_papers_report(make, coco):
    assert hours([make()], coco)[0] == pytest.approx(5, rel=0.03)


def test_backbone_schedule_method_and_gpus_count(make, coco):
    r50, x101, cornernet, four, one = hours(
        [
            make(),
            make(backbone="x101_64x4d", schedule="2x"),
            make("cornernet"),
            make(adjustments=Adjustments(gpus=4)),
            make(adjustments=Adjustments(gpus=1)),
        ],
        coco,
    )
    assert x101 == pytest.approx(25, rel=0.05)
    assert cornernet > 72
    assert four == pytest.approx(2 * r50, rel=0.02)
    assert one == pytest.approx(8 * r50, rel=0.02)


def test_scales_of_training_and_testing_count(make, coco):
    plain, jittered, tested = Costs("paper", coco, {}, {}).of(
        [make(), make(train_scales="640-800"), make(test_scales="400-1800")]
    )
    assert 0.75 < jittered.train_seconds / plain.train_seconds < 0.9
    assert tested.train_seconds == plain.train_seconds
    assert tested.test_seconds > 10 * plain.test_seconds


def test_checkpoints_follow_backbone_and_optimizer(make):
    # R-50 FPN's RetinaNet has 37.7 million parameters, CornerNet's 201 million have two moments in Adam.
    assert checkpoint_mb(make()) == pytest.approx(2 * 4 * 37.7, rel=0.05)
    assert checkpoint_mb(make("cornernet")) == pytest.approx(3 * 4 * 201, rel=0.05)
    assert checkpoint_mb(make(backbone="x101_64x4d")) > 2 * checkpoint_mb(make())


def test_names_leave_out_what_costs_nothing(make, coco):
    def name(*args, **options):
        return work_of(make(*args, **options), coco).name

    assert name("ltm", "mini", K=10) == name("ltm", "mini", seed=3)
    assert name(schedule="2x") == name()
    different = {
        name(), name("ltm"), name(backbone="r101"), name(train_scales="640-800"),
        name(test_scales="400-1800"), name(adjustments=Adjustments(gpus=4)), name(preset="coco-1gpu"),
        name(adjustments=Adjustments(fast=True)), name(preset="coco-1gpu", adjustments=Adjustments(gpus=0.5)),
        name(backbone="x101_64x4d"), name(backbone="x101_64x4d_dcn"),
    }  # fmt: skip
    assert len(different) == 11


def test_a_calibrated_work_costs_what_was_measured_and_scales_the_rest(make, coco):
    measured, other = make(), make("atss", backbone="r101")
    work = work_of(measured, coco)
    table = Costs("paper", coco, {}, {}).of([measured, other])
    pace = Pace(table[0].train_seconds / (12 * work.passes) / 2, 0.0, 0.0, 0.0, CALIBRATED)
    costs = Costs("paper", coco, {work.name: pace}, {}).of([measured, other])
    assert costs[0].train_seconds == pytest.approx(table[0].train_seconds / 2)
    assert costs[1].seconds == pytest.approx(table[1].seconds * costs[0].seconds / table[0].seconds)
    assert [cost.source for cost in costs] == [CALIBRATED, SCALED]
    assert [cost.source for cost in table] == [TABLE, TABLE]


def test_calibration_comes_before_finished_runs(make, coco):
    run = make()
    name = work_of(run, coco).name
    fast, slow = Pace(1, 0, 0, 0, CALIBRATED), Pace(2, 0, 0, 0, FINISHED)
    both = Costs("paper", coco, {name: fast}, {name: slow}).of([run])
    assert both[0].source == CALIBRATED
    assert Costs("paper", coco, {}, {name: slow}).of([run])[0].train_seconds == 2 * 12 * 7393


def finish(run, dataset, environment):
    directory = run.directory
    directory.path.mkdir(parents=True, exist_ok=True)
    directory.detections_file.write_bytes(b"detections")
    files = {"detections.parquet": {"bytes": 10, "sha256": sha256(directory.detections_file)}}
    write_json(directory.environment_file, {"training": [{"from_epoch": 0, **environment}]})
    write_json(
        directory.result_file,
        {"metrics": {}, "files": files, "train_seconds": 200.0, "steps": 100, "evaluation_seconds": 7.0},
    )
    return run.as_spec_json(dataset)


def test_finished_runs_of_this_machine_tell_their_times(make, dataset, tmp_path):
    run = make("ltm", "mini", data=dataset)
    spec = finish(run, dataset, HERE)
    paces = paces_of_finished([spec, {"damaged": True}], tmp_path / "runs")
    assert paces == {work_of(run, dataset).name: Pace(2.0, 0.0, 0.0, 17.0, FINISHED)}


def test_finished_runs_of_another_machine_tell_nothing(make, dataset, tmp_path):
    other = {**HERE, "hardware": {**HERE["hardware"], "cores": 99}}
    spec = finish(make("ltm", "mini", data=dataset), dataset, other)
    assert paces_of_finished([spec], tmp_path / "runs") == {}


def test_this_machine_is_its_hardware_and_versions():
    assert is_this_machine(HERE, gpu=False)
    assert not is_this_machine({**HERE, "packages": {**HERE["packages"], "torch": "1.0"}}, gpu=False)
    assert not is_this_machine({**HERE, "hardware": {**HERE["hardware"], "gpus": ["another"]}}, gpu=True)
    assert not is_this_machine({}, gpu=False)


def test_measurements_are_kept_one_a_work_and_machine(tmp_path):
    workspace = Workspace(tmp_path)
    pace = Pace(0.5, 1.0, 0.25, 9.0, CALIBRATED)
    assert read_paces(workspace) == {}
    record(workspace, "ltm", replace(pace, forward_pass=9.0), 100, HERE, gpu=False)
    record(workspace, "ltm", pace, 100, HERE, gpu=False)
    record(workspace, "other", pace, 100, {**HERE, "hardware": {}}, gpu=False)
    assert read_paces(workspace) == {"ltm": pace}


@pytest.mark.parametrize(
    "content", ["{}", '[{"work": "ltm"}]', '[{"work": "ltm", "environment": 3, "gpu": 0}]']
)
def test_a_damaged_file_is_named(tmp_path, content):
    workspace = Workspace(tmp_path)
    calibration_file(workspace).parent.mkdir()
    calibration_file(workspace).write_text(content)
    with pytest.raises(SuiteError, match=r"calibration.json: not what `suite calibrate` writes"):
        read_paces(workspace)
