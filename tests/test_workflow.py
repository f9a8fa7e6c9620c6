"""From a request to prepared runs: what is checked before any training starts."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config
from rich.console import Console

from suite import machine
from suite.errors import SuiteError
from suite.runs.adjustments import Adjustments
from suite.runs.presets import dataset_of, report_name
from suite.runs.resources import Resources
from suite.workflow import (
    Request,
    _experiment_inputs,
    _method_inputs,
    command_line,
    execute,
    make_plan,
    prepare_runs,
    print_plan,
    require_gpus,
    time_in_words,
)
from suite.workspace import Workspace


@pytest.fixture
def request_pair(tmp_path, write_experiment):
    write_experiment("ltm.table1")
    return Request("mini", "ltm.table1", (0, 1), None, Workspace(tmp_path))


def test_preparing_writes_spec_and_config_of_each_run(request_pair):
    planned = make_plan(request_pair)
    prepare_runs(planned)
    for run in planned.runs:
        assert run.directory.spec()["run_id"] == run.run_id
        config = Config.fromfile(run.directory.config_file, import_custom_modules=False)
        assert config.work_dir == str(run.directory.path)
    again = make_plan(request_pair)
    assert [run.run_id for run in again.runs] == [run.run_id for run in planned.runs]
    assert {run.state for run in again.runs} == {"new"}


def test_the_table_of_methods_has_the_chosen_and_the_core_ones(request_pair, write_experiment):
    base = {"label": "RetinaNet", "method": "retinanet"}
    paa = {"label": "PAA", "method": "paa", "options": {"schedule": "1.5x"}}
    variant = {"label": "K = 20", "method": "ltm", "options": {"K": 20}}
    write_experiment("paa.table1", core=True, rows=[base, paa, variant])
    write_experiment("paa.table2", rows=[base, {"label": "ATSS", "method": "atss"}])
    methods = _method_inputs(make_plan(request_pair))
    assert [(one.label, [run.seed for run in one.runs]) for one in methods] == [
        ("RetinaNet", [0, 1]), ("LTM", [0, 1]), ("PAA", [0, 1]),
    ]  # fmt: skip


def test_a_damaged_spec_is_written_again(request_pair):
    planned = make_plan(request_pair)
    prepare_runs(planned)
    planned.runs[0].directory.spec_file.write_text('{"run_id": "l')
    again = make_plan(request_pair)
    prepare_runs(again)
    assert again.runs[0].directory.spec()["method"] == "retinanet"


def test_a_disk_too_small_is_refused_with_numbers(request_pair, monkeypatch):
    monkeypatch.setattr(machine, "free_disk_mb", lambda folder: 100.0)
    with pytest.raises(SuiteError, match=r"runs: 100 MB free, and 4 runs need about \d+ MB"):
        prepare_runs(make_plan(request_pair))


def test_a_runs_folder_that_cannot_be_made_is_named(request_pair):
    request_pair.workspace.runs.write_text("not a folder")
    with pytest.raises(SuiteError, match=r"runs: cannot be made"):
        prepare_runs(make_plan(request_pair))


def test_the_papers_presets_need_a_coco_root(tmp_path):
    with pytest.raises(SuiteError, match=r"preset 'paper' trains on COCO 2017, and no COCO_ROOT is given"):
        dataset_of("paper", None, Workspace(tmp_path))


def test_the_printed_plan_names_runs_reasons_and_cost(request_pair):
    out = io.StringIO()
    print_plan(make_plan(request_pair), Console(file=out, width=200))
    text = out.getvalue()
    assert "ltm seed 1" in text
    assert "never run" in text
    assert "ltm.table1" in text
    assert "4 runs, 4 to do: about " in text


@pytest.mark.parametrize(
    ("needs", "devices", "slots"),
    [
        (Resources(1, 0), "", 3),
        (Resources(4, 0), "", 1),
        (Resources(1, 2), "0,1,2,3", 2),
        (Resources(2, 1), "0,1,2,3", 4),  # cores never hold up GPUs
        (Resources(1, 0.5), "0", 2),
        (Resources(1, 8), "", 1),
    ],
)
def test_the_estimate_is_of_runs_side_by_side_as_many_as_the_machine_holds(
    request_pair, monkeypatch, needs, devices, slots
):
    monkeypatch.setattr("os.cpu_count", lambda: 64)  # of the host, around a container
    monkeypatch.setattr("suite.workflow.cpu_count", lambda: 3.5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    planned = make_plan(request_pair)
    planned = replace(planned, runs=[replace(run, resources=needs) for run in planned.runs])
    assert planned.seconds == pytest.approx(sum(run.seconds for run in planned.runs) / slots)


def test_a_machine_without_the_gpus_is_refused_before_anything_is_written(request_pair, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    planned = make_plan(request_pair)
    planned = replace(planned, runs=[replace(run, resources=Resources(8, 8)) for run in planned.runs])
    with pytest.raises(SuiteError, match=r"a run needs 8 GPUs; this machine has 2") as caught:
        execute(planned, Console(file=io.StringIO()), executor="local", address=None, cpus=None, gpus=None)
    assert "GPUS=2 trains each run on what there is" in caught.value.remedy
    assert not request_pair.workspace.runs.exists()
    with pytest.raises(SuiteError, match="this machine has 1"):
        require_gpus(planned, "ray", None, gpus=1)
    require_gpus(planned, "ray", "head:6379", gpus=None)  # the cluster says it
    assert time_in_words(planned).endswith("on 8 GPUs (this machine has 2 GPUs)")


def test_adjustments_are_said_in_plan_and_report_and_repeated_in_commands(request_pair):
    asked = replace(request_pair, adjustments=Adjustments(batch=16))
    planned = make_plan(asked)
    out = io.StringIO()
    print_plan(planned, Console(file=out, width=200))
    told = "16 images per step in place of 8, so the learning rate is multiplied by 2 (the linear rule)."
    assert told in out.getvalue() and "BATCH=16" in out.getvalue()
    assert planned.remarks_of(planned.experiments[0]) == [told]
    assert told in _experiment_inputs(planned)[0].notes
    assert planned.report_name == "mini-batch16"
    assert command_line(asked, "ltm.table1").endswith("SEEDS=0,1 BATCH=16")
    assert "by the default table. `make calibrate PRESET=mini EXPERIMENTS=ltm.table1" in out.getvalue()


def test_two_roots_never_share_a_report(dataset):
    own = replace(dataset, kind="shapes")
    root = replace(dataset, kind="coco", name="coco")
    other = replace(root, val=replace(root.val, fingerprint="other"))
    assert report_name("mini", own) == "mini"
    names = {report_name(preset, one) for preset in ("mini", "paper") for one in (root, other)}
    assert len(names) == 4
    assert all(name.startswith(("mini-coco-", "paper-coco-")) for name in names)


def test_the_command_that_remakes_an_experiment():
    request = Request("smoke", "core", (0, 2), Path("/data/my coco"), Workspace(Path()))
    assert command_line(request, "ltm.table1") == (
        "make reproduce-tables PRESET=smoke EXPERIMENTS=ltm.table1 SEEDS=0,2 COCO_ROOT='/data/my coco'"
    )
