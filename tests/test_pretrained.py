"""``suite weights`` and what plans and runs do about pretrained weights, from a server on this machine."""

import hashlib
import io
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from mmengine.config import Config
from rich.console import Console

from suite import doctor, pretrained, workflow
from suite.errors import SuiteError
from suite.pretrained import needed_weights, provide, weights_command
from suite.runs import identity, weights
from suite.runs.weights import Weights, WeightStore
from suite.workflow import Request, make_plan, prepare_runs, print_plan, with_weights
from suite.workspace import Workspace

CONTENT = b"weights of a backbone"
R50, R101 = "torchvision://resnet50", "torchvision://resnet101"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files a server offers; both backbones' weights are known to be there."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        digest = hashlib.sha256(CONTENT).hexdigest()
        table = {
            R50: Weights(R50, "r50.pth", [f"{url}/absent/r50.pth", f"{url}/r50.pth"], 1, {}, digest),
            R101: Weights(R101, "r101.pth", [f"{url}/r101.pth"], 1, {}, digest[:8]),
        }
        for module in (weights, pretrained, workflow, identity):
            monkeypatch.setattr(module, "known_weights", lambda: table)
        yield folder
        server.shutdown()
        thread.join()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("SUITE_WEIGHTS", raising=False)
    return Workspace(tmp_path)


@pytest.fixture
def full_scale(workspace: Workspace, dataset, write_experiment, monkeypatch: pytest.MonkeyPatch) -> Request:
    """A table at the papers' scale with a run of each backbone."""
    rows = [
        {"label": "RetinaNet", "method": "retinanet"},
        {"label": "deep", "method": "retinanet", "options": {"backbone": "r101"}},
    ]
    write_experiment("ltm.table2", rows=rows, factor=["backbone"])
    monkeypatch.setattr(workflow, "dataset_of", lambda *_: dataset)
    monkeypatch.setattr("suite.reporting.check.check_experiments", lambda *_: None)
    return Request("paper", "ltm.table2", (0,), None, workspace)


def out() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=400), text


def test_needed_weights_need_no_data(full_scale: Request, served: Path, workspace: Workspace) -> None:
    assert needed_weights("paper", "ltm.table2", workspace) == {R50: 1, R101: 1}
    assert needed_weights("smoke", "ltm.table2", workspace) == {}


def test_the_command_downloads_once_and_says_what_is_missing(
    full_scale: Request, served: Path, workspace: Workspace
) -> None:
    (served / "r50.pth").write_bytes(CONTENT)
    console, text = out()
    assert not weights_command("paper", "ltm.table2", "", None, workspace, console)
    assert (workspace.weights / "r50.pth").read_bytes() == CONTENT
    printed = text.getvalue()
    assert f"missing: {R101}: http://127.0.0.1" in printed
    assert "r101.pth: cannot be downloaded (File not found)" in printed
    assert f"at {workspace.weights / 'r101.pth'}" in printed
    (served / "r50.pth").unlink()
    (served / "r101.pth").write_bytes(CONTENT)
    console, text = out()
    assert weights_command("paper", "ltm.table2", "", None, workspace, console)
    assert "missing" not in text.getvalue()
    with pytest.raises(SuiteError, match="'torchvision://resnet5' are unknown"):
        weights_command("paper", "core", "torchvision://resnet5", None, workspace, console)


def test_files_copied_by_hand_are_taken_without_a_network(served: Path, tmp_path: Path) -> None:
    store, console = WeightStore(tmp_path / "weights"), out()[0]
    usb = tmp_path / "usb"
    usb.mkdir()
    (usb / "r50.pth").write_bytes(b"another file")
    failed = provide(store, [R50, R101], console, usb)
    assert "SHA-256" in failed[R50]
    assert "kept as" in failed[R50]
    assert failed[R101] == f"{usb} holds no r101.pth"
    (usb / "r50.pth").write_bytes(CONTENT)
    assert provide(store, [R50], console, usb) == {}
    assert (usb / "r50.pth").exists()


def test_a_wrong_file_in_the_folder_is_put_aside(served: Path, tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "weights")
    store.folder.mkdir()
    store.path(R50).write_bytes(b"mine")
    (served / "r50.pth").write_bytes(CONTENT)
    assert provide(store, [R50], out()[0]) == {}
    assert store.path(R50).read_bytes() == CONTENT
    assert store.folder.joinpath("r50.pth.wrong").read_bytes() == b"mine"


def test_the_plan_names_what_is_missing_and_runs_name_the_files(full_scale: Request, served: Path) -> None:
    planned = make_plan(full_scale)
    console, text = out()
    print_plan(planned, console)
    assert f"missing: {R50}: not in" in text.getvalue()
    assert f"suite weights --names {R101}" in text.getvalue()
    for name in ("r50.pth", "r101.pth"):
        (served / name).write_bytes(CONTENT)
    ready, waiting = with_weights(planned, console)
    assert (ready, waiting) == (planned, [])
    assert [run.run_id for run in make_plan(full_scale).runs] == [run.run_id for run in planned.runs]
    prepare_runs(planned)
    for run, name in zip(planned.runs, ("r50.pth", "r101.pth"), strict=True):
        config = Config.fromfile(run.directory.config_file, import_custom_modules=False)
        assert config.model.backbone.init_cfg.checkpoint == str(full_scale.workspace.weights / name)


def test_runs_without_weights_wait_and_the_others_go_on(full_scale: Request, served: Path) -> None:
    (served / "r50.pth").write_bytes(CONTENT)
    console, text = out()
    ready, waiting = with_weights(make_plan(full_scale), console)
    assert [run.spec.name for run in ready.runs] == ["retinanet seed 0"]
    assert waiting == [f"retinanet backbone=r101 seed 0: pretrained weights are missing: {R101}"]
    assert "1 run cannot start without them; the others do." in text.getvalue()
    (served / "r50.pth").unlink()
    (full_scale.workspace.weights / "r50.pth").unlink()
    with pytest.raises(SuiteError, match="no run can start: pretrained weights are missing"):
        with_weights(make_plan(full_scale), console)


def test_doctor_has_a_line_for_each_file(full_scale: Request, served: Path, workspace: Workspace) -> None:
    workspace.weights.mkdir(parents=True)
    (workspace.weights / "r50.pth").write_bytes(CONTENT)
    found = doctor._weights("paper", "ltm.table2", workspace)
    assert [(check.name, check.ok) for check in found] == [
        (f"weights {R50}", True),
        (f"weights {R101}", False),
    ]
    assert "suite weights --names" in found[1].remedy
    assert doctor._weights("smoke", "ltm.table2", workspace)[0].detail == "none needed"
    assert "no_such" in doctor._weights("paper", "no_such", workspace)[0].detail


def test_weights_that_are_made_here_are_no_lack(full_scale: Request, workspace: Workspace) -> None:
    (check,) = doctor._weights("mini", "ltm.table2", workspace)
    assert (check.name, check.ok) == ("weights shapes://resnet18_quarter", True)
    assert check.detail == "not made yet: the first command that trains makes them"
    assert WeightStore(workspace.weights).made_here("shapes://resnet18_quarter")
    assert not WeightStore(workspace.weights).made_here(R50)


def test_the_folder_is_where_the_variable_says(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workspace.weights == tmp_path / "data" / "weights"
    monkeypatch.setenv("SUITE_WEIGHTS", str(tmp_path / "shared"))
    assert workspace.weights == tmp_path / "shared"
