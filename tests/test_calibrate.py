"""suite calibrate and runs of two gloo processes: the real worker, for a few steps."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from suite.calibrate import calibrate
from suite.data.dataset import prepare
from suite.errors import SuiteError
from suite.experiments.calibration import read_measurements
from suite.experiments.costs import CALIBRATED
from suite.files import read_json_lines
from suite.runs import presets
from suite.workflow import Request, execute, make_plan
from suite.workspace import Workspace

LOCAL = {"executor": "local", "address": None, "cpus": None, "gpus": None}


@pytest.fixture
def request_one(tmp_path, write_experiment):
    write_experiment("ltm.table1", rows=[{"label": "LTM", "method": "ltm"}], baseline="LTM")
    return Request("smoke", "ltm.table1", (0,), None, Workspace(tmp_path))


def test_a_dataset_that_is_too_small_is_refused(request_one, monkeypatch):
    planned = make_plan(request_one)
    dataset = planned.dataset
    few = replace(dataset, train=replace(dataset.train, n_images=7))
    monkeypatch.setattr("suite.calibrate.prepare", lambda dataset: None)
    with pytest.raises(SuiteError, match="7 training images are too few to measure ltm, ResNet-18"):
        calibrate(replace(planned, dataset=few), Console(file=io.StringIO()), **LOCAL)
    assert not list(request_one.workspace.runs.glob(".calibration-*"))


@pytest.mark.slow
def test_what_is_measured_is_what_the_plan_tells(request_one):
    out = io.StringIO()
    assert calibrate(make_plan(request_one), Console(file=out, width=250), **LOCAL) == []
    ((name, (pace, memory)),) = read_measurements(request_one.workspace).items()
    assert name.startswith("ltm, ResNet-18-16, trained at 128x128") and f"1/1  {name}: " in out.getvalue()
    assert 0 < pace.forward_pass < 10 and 0 < pace.image < 10 and pace.other > 0 and memory > 100
    (run,) = make_plan(request_one).runs
    assert run.source == CALIBRATED
    assert run.seconds == pytest.approx(8 * pace.forward_pass + pace.epoch + 16 * pace.image + pace.other)
    assert not list(request_one.workspace.runs.iterdir())
    again = io.StringIO()
    calibrate(make_plan(request_one), Console(file=again, width=250), **LOCAL)
    assert "1 kind of runs, 0 to measure." in again.getvalue()


@pytest.mark.slow
def test_a_preset_that_asks_for_two_processes_on_a_cpu_trains_with_gloo(request_one, monkeypatch):
    info = presets.preset_info("smoke")
    monkeypatch.setattr(presets, "preset_info", lambda name: {**info, "processes": 2})
    planned = make_plan(request_one)
    prepare(planned.dataset)
    assert execute(planned, Console(file=io.StringIO()), **LOCAL) == []
    (run,) = planned.runs
    assert run.identity.machine == {"device": "CPU", "processes": 2, "threads": 1}
    assert "torch.distributed.run --standalone --nproc-per-node 2" in run.directory.log_file.read_text()
    lines = [line for line in read_json_lines(run.directory.metrics_file) if "loss" in line]
    assert lines[-1]["steps"] == 4  # 32 images, 4 on each process
    assert run.directory.is_complete()
