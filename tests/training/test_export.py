"""A finished run's detections on test-dev, and what the evaluation server answers."""

import datetime
import json
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from training_runs import run_config, write_run

from suite.errors import SuiteError
from suite.evaluation.coco_ap import evaluate
from suite.evaluation.detections import load_detections
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.test_dev import export_directory, import_result, read_server_result, zip_file
from suite.files import read_json, sha256, write_json
from suite.runs.directory import RunDirectory
from suite.scheduling.export import export_test_dev
from suite.training import worker

DAY = datetime.date(2026, 1, 2)


@pytest.fixture(scope="module")
def coco_root(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO root whose test-dev images are the validation split's; another image is not test-dev's."""
    root = tmp_path_factory.mktemp("coco")
    shutil.copytree(dataset / "val", root / "test2017")
    shutil.copy(root / "test2017" / "0001.png", root / "test2017" / "challenge.png")
    content = read_json(dataset / "val.json")
    info = {"images": content["images"], "categories": content["categories"][::-1], "info": {}}
    write_json(root / "annotations" / "image_info_test-dev2017.json", info)
    return root


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch that keeps detections of any score."""
    config = run_config(dataset, epochs=1)
    config["model"]["test_cfg"]["score_thr"] = 0.0
    path = write_run(tmp_path_factory.mktemp("trained") / "run", config)
    assert worker.main([str(path)]) == 0
    return path


@pytest.fixture
def run(trained: Path, coco_root: Path, tmp_path: Path) -> RunDirectory:
    """The run as one on that COCO root."""
    shutil.copytree(trained, tmp_path / "runs" / "ltm-1234")
    found = RunDirectory(tmp_path / "runs" / "ltm-1234")
    spec = read_json(found.spec_file)
    classes = ["dark", "light"]
    spec["dataset"] = {"name": "coco", "kind": "coco", "root": str(coco_root)}
    spec["identity"]["config"] = {
        "model": {"test_cfg": {"max_per_img": 100}},
        "test_dataloader": {"dataset": {"metainfo": {"classes": classes}}},
    }
    write_json(found.spec_file, spec)
    return found


def rounded(frame: pd.DataFrame) -> list[tuple[float, ...]]:
    """Detections as the results file has them, in any order."""
    frame = frame.astype(float).round({"score": 6, "x": 2, "y": 2, "w": 2, "h": 2})
    columns = ["image_id", "category_id", "score", "x", "y", "w", "h"]
    return sorted(map(tuple, frame[columns].to_numpy().round(6)))


def exported(run: RunDirectory, **options) -> Path:
    given = {"coco_root": None, "out": None, **options}
    return export_test_dev(run, given["coco_root"], given["out"], Console(quiet=True))


def answer(folder: Path, **changes: float | None) -> Path:
    """A file with the server's numbers."""
    numbers = {"AP": 0.392, "AP_50": 0.579, "AP_75": 0.421, "AP_small": 0.215, "AP_medium": 0.416,
               "AP_large": 0.493, "AR_max_100": 0.55}  # fmt: skip
    numbers |= changes
    path = folder / "scores.json"
    path.write_text(json.dumps({name: value for name, value in numbers.items() if value is not None}))
    return path


def test_from_a_run_to_the_servers_file_and_back(
    run: RunDirectory, dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path.name: sha256(path) for path in run.path.iterdir() if path.is_file()}
    file = exported(run, out=tmp_path / "out")
    assert file == tmp_path / "out" / "detections_test-dev2017_ltm-1234_results.zip"
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["detections_test-dev2017_ltm-1234_results.json"]
        archive.extractall(tmp_path)
    results = tmp_path / "detections_test-dev2017_ltm-1234_results.json"
    first = json.loads(results.read_text())[0]
    assert set(first) == {"image_id", "category_id", "bbox", "score"}
    assert first["category_id"] in (3, 7)
    # Test-dev is the validation split here: the same detections, up to their rounding.
    truth = GroundTruth.load(dataset / "val.json")
    found = load_detections(results, truth).frame
    own = pd.read_parquet(run.detections_file)
    assert len(own) == 600
    assert rounded(found) == rounded(own)
    ours, theirs = evaluate(truth, own).metrics, evaluate(truth, found).metrics
    assert theirs["AP"] == pytest.approx(ours["AP"], abs=0.01)
    assert {path.name: sha256(path) for path in run.path.iterdir() if path.is_file()} == before

    made = zip_file(run).stat().st_mtime_ns
    exported(run)
    assert zip_file(run).stat().st_mtime_ns == made, "an export that is there is not made again"

    import_result(run, answer(tmp_path), None, "the server", DAY)
    result = read_server_result(run)
    assert result.metrics["AP75"] == 0.421 and result.metrics["AR100"] == 0.55
    assert result.source.startswith("the server, 2026-01-02, scores.json (SHA-256 ")

    other = RunDirectory(shutil.copytree(run.path, run.path.with_name("ltm-5678")))
    (other.path / "test_dev.json").unlink()
    export = other.path / "test_dev"
    record = read_json(export / "result.json")
    (export / zip_file(run).name).rename(zip_file(other))
    zip_file(other).write_bytes(b"another")
    record["files"] = {zip_file(other).name: {"sha256": sha256(zip_file(other)), "bytes": 7}}
    write_json(export / "result.json", {**record, "results_sha256": "0"})
    with pytest.raises(SuiteError, match="imported as the result of ltm-1234"):
        import_result(other, answer(tmp_path), None, "the server", DAY)
    with pytest.raises(SuiteError, match=r"it is the export of ltm-1234 .*not of ltm-5678"):
        import_result(other, answer(tmp_path, AP=0.3), zip_file(run), "the server", DAY)
    (tmp_path / "stdout.txt").write_text("detections_test-dev2017_ltm-1234_results.json\nAP: 0.1\n")
    with pytest.raises(SuiteError, match="AP50, AP75, APS, APM, APL missing"):
        import_result(other, tmp_path / "stdout.txt", None, "the server", DAY)
    (tmp_path / "stdout.txt").write_text(
        "detections_test-dev2017_ltm-1234_results.json\n" + "\n".join(f"{n}: 0.1" for n in ALL)
    )
    with pytest.raises(SuiteError, match="the result of ltm-1234, not of ltm-5678"):
        import_result(other, tmp_path / "stdout.txt", None, "the server", DAY)
    import_result(other, answer(tmp_path, AP=0.3), zip_file(other), "the server", DAY)

    result_json = read_json(run.result_file)
    result_json["files"]["detections.parquet"]["sha256"] = "0" * 64
    write_json(run.result_file, result_json)
    with pytest.raises(SuiteError, match="trained or evaluated anew since"):
        read_server_result(run)
    with pytest.raises(SuiteError, match="anew after it was exported"):
        import_result(run, answer(tmp_path), None, "the server", DAY)


ALL = ("AP", "AP50", "AP75", "APS", "APM", "APL")


def test_a_failed_export_says_why_and_leaves_the_run_alone(
    run: RunDirectory, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run.checkpoint_file.write_bytes(b"no checkpoint")
    with pytest.raises(SuiteError, match="the export failed: "):
        exported(run)
    assert run.failure() is None and run.result() is not None
    assert export_directory(run).failure() is not None
    assert not zip_file(run).exists()


def spoil_identity(run: RunDirectory, **config) -> None:
    spec = read_json(run.spec_file)
    spec["identity"]["config"] |= config
    write_json(run.spec_file, spec)


def test_what_is_known_beforehand_is_refused_before_any_work(
    run: RunDirectory, coco_root: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    (empty / "annotations").mkdir(parents=True)
    with pytest.raises(SuiteError, match=r"no test-dev; missing: .*info_test-dev2017.json, .*test2017/"):
        exported(run, coco_root=empty)
    shutil.copytree(coco_root, tmp_path / "half")
    (tmp_path / "half" / "test2017" / "0002.png").unlink()
    with pytest.raises(SuiteError, match=r"1 of 6 test-dev images are missing: 0002.png"):
        exported(run, coco_root=tmp_path / "half")
    (tmp_path / "half" / "annotations" / "image_info_test-dev2017.json").write_text('{"images": [{"id": 1}]}')
    with pytest.raises(SuiteError, match="not COCO's image info"):
        exported(run, coco_root=tmp_path / "half")
    identity = read_json(run.spec_file)["identity"]
    spoil_identity(run, model={"test_cfg": {"rcnn": {"max_per_img": 400}}})
    with pytest.raises(SuiteError, match="up to 400 detections an image; the server counts 100"):
        exported(run)
    spoil_identity(run, model={}, test_dataloader={"dataset": {"metainfo": {"classes": ["dark", "bright"]}}})
    with pytest.raises(SuiteError, match="only in one of them: bright, light"):
        exported(run)
    spec = read_json(run.spec_file)
    write_json(run.spec_file, {**spec, "dataset": {"name": "shapes-1", "kind": "shapes"}})
    with pytest.raises(SuiteError, match="trained on shapes-1, which has no test-dev"):
        exported(run)
    with pytest.raises(SuiteError, match="nothing of this run was exported"):
        import_result(run, answer(tmp_path), None, "the server", DAY)
    write_json(run.spec_file, spec | {"identity": identity})
    run.checkpoint_file.unlink()
    with pytest.raises(SuiteError, match=r"latest.pth: the checkpoint is missing"):
        exported(run)
    run.result_file.unlink()
    with pytest.raises(SuiteError, match=r"the run is not finished \(no result yet\)"):
        exported(run)
    assert not export_directory(run).path.exists()
