"""``suite adopt`` from a checkpoint to the report."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.utils import import_modules_from_strings
from rich.console import Console

from suite.adoption import _evaluating, adopt, assignments
from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.files import read_json, sha256, write_json
from suite.reporting.adopted import adopted_runs
from suite.runs.presets import dataset_of
from suite.runs.resolve import resolve
from suite.runs.spec import RunSpec
from suite.workflow import Request, make_plan, make_report
from suite.workspace import Workspace


def test_assignments_are_read_as_yaml() -> None:
    assert assignments(["K=20", " a.b =[1, 2.5]", "c=caffe", "d=false"], "--set") == {
        "K": 20, "a.b": [1, 2.5], "c": "caffe", "d": False,
    }  # fmt: skip
    for text in ("K", "=3", "K=[1"):
        with pytest.raises(SuiteError, match="expected name=value"):
            assignments([text], "--option")


def test_what_is_adopted_is_not_trained_and_starts_from_nothing_else(dataset: Dataset) -> None:
    config = resolve(RunSpec("retinanet", "paper", 0), dataset)
    kept = _evaluating(config, {"model.neck.add_extra_convs": "on_output", "model.backbone.style": "caffe"})
    assert kept["model"]["backbone"]["init_cfg"] is None
    assert kept["model"]["neck"]["add_extra_convs"] == "on_output"
    assert not {"train_cfg", "train_dataloader", "optim_wrapper", "param_scheduler"} & kept.keys()
    assert config["model"]["backbone"]["style"] == "pytorch"
    for path in ("model.nck.x", "test_cfg.type", "model.neck.in_channels.9"):
        with pytest.raises(SuiteError, match=f"--set {path}=1: the config has no"):
            _evaluating(config, {path: 1})


def adopted_run(folder: Path, dataset: Dataset, **about: Any) -> None:
    write_json(
        folder / "spec.json",
        {
            "method": "atss", "preset": "paper",
            "identity": {"data": {"validation": dataset.val.fingerprint}, "evaluation": {"a": "1"}},
            "adopted": {"label": "ATSS", "file": "x.pth", "sha256": "ab" * 32, "source": "",
                        "options": {"backbone": "r101"}, "changes": {}, **about},
        },
    )  # fmt: skip
    metrics = dict.fromkeys(("AP", "AP50", "AP75", "APS", "APM"), 0.394) | {"APL": None}
    write_json(folder / "result.json", {"files": {}, "metrics": metrics, "evaluation": {"a": "1"}})


def test_a_report_lists_complete_runs_of_its_preset_and_data(dataset: Dataset, tmp_path: Path) -> None:
    for number in range(4):
        adopted_run(tmp_path / f"atss-adopted-{number}", dataset, label=f"ATSS {number}")
    (tmp_path / "atss-adopted-1" / "result.json").write_text("{")
    (tmp_path / "atss-adopted-2" / "spec.json").write_text("{}")
    (one, other) = adopted_runs(tmp_path, "paper", dataset)
    assert (one.label, one.about) == ("ATSS 0", "atss, backbone=r101")
    assert list(one.numbers) == ["39.4"] * 5 + ["–"]
    assert (other.label, other.sha256) == ("ATSS 3", "ab" * 32)
    assert adopted_runs(tmp_path, "mini", dataset) == []


@pytest.mark.slow
def test_a_checkpoint_becomes_an_evaluated_run_of_its_own(
    tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "experiments").symlink_to(project / "experiments")
    config = resolve(RunSpec("retinanet", "smoke", 0), dataset_of("smoke", None, workspace))
    register_all_modules(init_default_scope=False)
    import_modules_from_strings(**config["custom_imports"])
    detector = MODELS.build(ConfigDict(config["model"], _scope_="mmdet"))
    torch.nn.init.normal_(detector.bbox_head.retina_cls.weight)
    checkpoint = tmp_path / "zoo.pth"
    torch.save({"state_dict": detector.state_dict(), "meta": {"mmdet_version": "2.28.2"}}, checkpoint)
    text = io.StringIO()

    def take(label: str) -> Path:
        found = adopt(
            "retinanet", checkpoint, workspace, Console(file=text, width=200), preset="smoke", coco_root=None,
            options={}, changes={}, label=label, source="https://zoo/retinanet.pth",
        )  # fmt: skip
        return found.path

    path = take("")
    spec, result = read_json(path / "spec.json"), read_json(path / "result.json")
    assert spec["adopted"]["sha256"] == result["adopted"]["sha256"] == sha256(checkpoint)
    assert result["steps"] == 0
    assert result["metrics"]["NR"] > 0.1
    assert "zoo: not trained here" in text.getvalue()
    finished = (path / "result.json").stat().st_mtime_ns
    assert take("RetinaNet of the zoo") == path
    assert "Evaluated before" in text.getvalue()
    assert (path / "result.json").stat().st_mtime_ns == finished
    planned = make_plan(Request("smoke", "ltm.table2", (0,), None, workspace))
    assert [run.reason for run in planned.runs] == ["never run", "never run"]
    report = make_report(planned, Console(file=text))
    for page in ("README.md", "index.html"):
        content = (report / page).read_text()
        assert "Adopted checkpoints" in content
        assert "RetinaNet of the zoo" in content
        assert "https://zoo/retinanet.pth" in content
