"""The command as a person types it: real processes, real trainings of the `smoke` preset."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from suite.files import read_json_lines

COMMAND = [sys.executable, "-m", "suite.cli"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The smoke preset's dataset, drawn once for all tests of this file."""
    root = tmp_path_factory.mktemp("drawn")
    done = suite(root, "data", "--preset", "smoke")
    assert done.returncode == 0, done.stderr
    return root / "data"


@pytest.fixture
def workspace(tmp_path, project, data) -> Path:
    shutil.copytree(project / "experiments", tmp_path / "experiments")
    shutil.copytree(data, tmp_path / "data")
    return tmp_path


def suite(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def pair(workspace: Path, **options) -> str:
    """An experiment of two runs; returns its id."""
    ltm = {"label": "LTM", "method": "ltm", "options": options}
    values = {
        "id": "own.pair", "title": "A pair", "question": "Which?", "kind": "table", "baseline": "RetinaNet",
        "rows": [{"label": "RetinaNet", "method": "retinanet"}, ltm],
        "columns": [{"label": "AP", "metric": "AP"}, {"label": "NR50", "metric": "NR50"}],
        "factor": ["method", *options],
    }  # fmt: skip
    (workspace / "experiments" / "own").mkdir(exist_ok=True)
    (workspace / "experiments" / "own" / "pair.yaml").write_text(json.dumps(values))
    return "own.pair"


def numbers(workspace: Path) -> dict[str, dict]:
    """What the runs of a workspace found, by run id, without times."""
    return {
        path.parent.name: json.loads(path.read_text())["metrics"]
        for path in sorted((workspace / "runs").glob("*/result.json"))
    }


def test_from_nothing_to_a_report_and_again(workspace):
    experiment = pair(workspace)
    request = ("--preset", "smoke", "--experiments", experiment)
    done = suite(workspace, "reproduce", *request)
    assert done.returncode == 0, done.stdout + done.stderr
    report = workspace / "reports" / "smoke"
    item = report / experiment / "item.json"
    cells = json.loads(item.read_text())["cells"]
    assert {"index.html", "README.md", experiment} <= {path.name for path in report.iterdir()}
    assert "LTM" in (report / experiment / "table.md").read_text()
    first = numbers(workspace)
    assert len(first) == 2
    assert (workspace / "mlflow.db").exists()

    shutil.rmtree(workspace / "data")  # drawn again, the same to the byte, because the report needs it
    again = suite(workspace, "reproduce", *request)
    assert again.returncode == 0, again.stderr
    assert "All 2 runs are complete." in again.stdout
    assert json.loads(item.read_text())["cells"] == cells

    reference = suite(workspace, "report", *request, "--evaluator", "pycocotools")
    assert reference.returncode == 0, reference.stderr
    assert json.loads(item.read_text())["cells"] == cells
    assert "AP by pycocotools" in (report / "README.md").read_text()

    # A damaged file is noticed, and the run is evaluated again without being trained again.
    run = workspace / "runs" / next(iter(first))
    assert len(read_json_lines(run / "assignment.jsonl")) == 3  # before, in and after 8 steps of smoke
    trained = (run / "checkpoints" / "latest.pth").stat().st_mtime_ns
    (run / "detections.parquet").write_bytes(b"half a file")
    assert "detections.parquet is damaged" in suite(workspace, "plan", *request).stdout
    repaired = suite(workspace, "run", *request, "--executor", "local")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert numbers(workspace) == first
    assert (run / "checkpoints" / "latest.pth").stat().st_mtime_ns == trained


def test_one_failing_run_does_not_stop_the_others(workspace):
    experiment = pair(workspace, lr=1e30)
    done = suite(
        workspace, "reproduce", "--preset", "smoke", "--experiments", experiment, "--executor", "local"
    )
    assert done.returncode == 1
    assert "1 failed:" in done.stderr
    assert "ltm lr=1e+30 seed 0: " in done.stderr
    log = workspace / done.stderr.split("(log: ")[1].split(")")[0]
    assert log.is_file()
    assert [run_id.split("-")[0] for run_id in numbers(workspace)] == ["retinanet"]
    table = (workspace / "reports" / "smoke" / experiment / "table.md").read_text()
    assert "failed" in table
    plan = suite(workspace, "plan", "--preset", "smoke", "--experiments", experiment).stdout
    assert "failed before: " in plan


def test_killed_at_any_moment_the_same_command_finishes_with_the_same_numbers(
    workspace, tmp_path_factory, project
):
    experiment = pair(workspace)
    arguments = ("run", "--preset", "smoke", "--experiments", experiment, "--executor", "local")
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(workspace / "experiments", undisturbed / "experiments")
    shutil.copytree(workspace / "data", undisturbed / "data")
    assert suite(undisturbed, *arguments).returncode == 0

    for signal_number in (signal.SIGKILL, signal.SIGINT):
        driver = subprocess.Popen(
            [*COMMAND, *arguments], cwd=workspace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(random.uniform(1, 14))
        driver.send_signal(signal_number)
        driver.wait(timeout=60)
    done = suite(workspace, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert numbers(workspace) == numbers(undisturbed)


@pytest.mark.slow
def test_two_commands_at_once_train_each_run_once(workspace):
    experiment = pair(workspace)
    arguments = ("reproduce", "--preset", "smoke", "--experiments", experiment, "--executor", "local")
    drivers = [
        subprocess.Popen(
            [*COMMAND, *arguments], cwd=workspace, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    ends = [(driver, *driver.communicate(timeout=600)) for driver in drivers]
    assert [driver.returncode for driver, *_ in ends] == [0, 0], ends
    assert len(numbers(workspace)) == 2
    for run in (workspace / "runs").glob("*-s0-*"):
        assert (run / "log.txt").read_text().count("done: AP") == 1
        assert not (run / "failure.json").exists()
        assert [line["step"] for line in read_json_lines(run / "metrics.jsonl") if "loss" in line] == [
            2,
            4,
            6,
            8,
        ]
    item = workspace / "reports" / "smoke" / experiment / "item.json"
    assert all(cell["summary"] for cell in json.loads(item.read_text())["cells"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "--preset", "minni"), "preset 'minni' is unknown. Did you mean 'mini'?"),
        (
            ("plan", "--experiments", "ltm.tabel2"),
            "experiment 'ltm.tabel2' is unknown. Did you mean 'ltm.table2'?",
        ),
        (("plan", "--seeds", "0,x"), "--seeds '0,x': expected distinct whole numbers"),
        (("plan", "--preset", "paper"), "no COCO_ROOT is given"),
        (("plan", "--until", "done", "--budget", "2h"), "UNTIL=done: expected 'settled'"),
        (("plan", "--until", "settled", "--budget", "2x"), "BUDGET=2x: expected a duration above 0"),
        (("plan", "--coco-root", "/nowhere"), "/nowhere"),
        (("run", "--executor", "slurm", "--preset", "smoke"), "'slurm' is not one of"),
    ],
)
def test_bad_input_is_answered_before_any_work(workspace, arguments, message):
    done = suite(workspace, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((workspace / "runs").glob("*/log.txt"))


def test_outside_a_checkout_it_says_where_to_go(tmp_path):
    done = suite(tmp_path, "plan")
    assert done.returncode == 2
    assert "Run the command from the project's folder" in done.stderr


def test_commands_for_test_dev_need_a_run_and_say_what_is_exported(workspace):
    for arguments, message in (
        (("export", "ltm-1"), "suite export --test-dev ltm-1"),
        (("export", "--test-dev", "ltm-1"), "run 'ltm-1': neither a run of"),
        (("import-result", "ltm-1", "scores.txt"), "run 'ltm-1': neither a run of"),
        (("import-result", "ltm-1", "scores.txt", "--date", "yesterday"), "'yesterday' does not match"),
    ):
        done = suite(workspace, *arguments)
        assert done.returncode == 2
        assert message in done.stderr


@pytest.mark.slow
def test_from_a_training_on_a_coco_root_to_test_dev_in_the_report(workspace):
    (drawn,) = (workspace / "data").glob("shapes-*")
    root = Path(shutil.copytree(drawn, workspace / "coco"))
    shutil.copytree(root / "val2017", root / "test2017")
    content = json.loads((root / "annotations" / "instances_val2017.json").read_text())
    del content["annotations"]
    (root / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    request = ("--preset", "smoke", "--experiments", pair(workspace), "--coco-root", str(root))
    done = suite(workspace, "run", *request, "--executor", "local")
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (workspace / "runs").glob("ltm-*")
    done = suite(workspace, "export", "--test-dev", run.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"detections_test-dev2017_{run.name}_results.zip" in done.stdout
    scores = workspace / "scores.txt"
    scores.write_text("AP: 0.392\nAP50: 0.579\nAP75: 0.421\nAPS: 0.215\nAPM: 0.416\nAPL: 0.493\n")
    done = suite(workspace, "import-result", run.name, str(scores), "--date", "2026-01-02")
    assert done.returncode == 0, done.stdout + done.stderr
    assert suite(workspace, "report", *request).returncode == 0
    (table,) = (workspace / "reports").glob("smoke-coco-*/own.pair/table.md")
    text = table.read_text()
    assert "| ours, test-dev2017 | 39.2 [" in text
    assert "seed 0: COCO's evaluation server, 2026-01-02, scores.txt (SHA-256 " in text


def test_real_photos(workspace, project):
    """COCO's own layout with 100 real photos, where they are at hand."""
    root = project.parent / "shared" / "data" / "coco_tiny"
    if not root.is_dir():
        pytest.skip(f"no COCO sample at {root}")
    pair(workspace)
    done = suite(
        workspace, "reproduce", "--preset", "smoke", "--experiments", "own.pair", COCO_ROOT=str(root)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = (workspace / "reports").glob("smoke-coco_tiny-*")
    assert (report / "own.pair" / "table.md").is_file()


def shelf(folder: Path) -> None:
    """A small SKU110K: shelves of 140 products, as its archive unpacks."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        lines = []
        for number in range(count):
            image = np.full((210, 280, 3), 200, np.uint8)
            for row, column in np.ndindex(10, 14):
                x, y = 20 * column + 2, 21 * row + 2
                image[y : y + 17, x : x + 15] = generator.integers(0, 256, 3)
                lines.append(f"{split}_{number}.jpg,{x},{y},{x + 15},{y + 17},object,280,210\n")
            cv2.imwrite(str(folder / "images" / f"{split}_{number}.jpg"), image)
        (folder / "annotations" / f"annotations_{split}.csv").write_text("".join(lines))


@pytest.mark.slow
def test_sku110k_from_its_csv_files_to_the_table(workspace, tmp_path):
    shelf(tmp_path / "SKU110K_fixed")
    converted = suite(workspace, "convert", "sku110k", "SKU110K_fixed")
    assert converted.stdout.splitlines() == [
        "train2017: 8 images, 1,120 boxes", "val2017: 3 images, 420 boxes", "COCO_ROOT=SKU110K_fixed",
    ]  # fmt: skip
    done = suite(
        workspace, "reproduce", "--preset", "smoke", "--experiments", "ltm.sku110k", "--executor", "local",
        COCO_ROOT="SKU110K_fixed",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(run_id.split("-")[0] for run_id in numbers(workspace)) == ["ltm", "retinanet"]
    for run in (workspace / "runs").iterdir():
        spec = json.loads((run / "spec.json").read_text())
        assert spec["identity"]["config"]["model"]["test_cfg"]["max_per_img"] == 400
    (table,) = (workspace / "reports").glob("smoke-SKU110K_fixed-*/ltm.sku110k/table.md")
    text = table.read_text()
    assert "LTM" in text and "not measurable" not in text
