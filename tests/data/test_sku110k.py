"""SKU110K's CSV files become a COCO root, and what is wrong with them is named by file and line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.data import coco
from suite.data.dataset import describe
from suite.data.sku110k import COLUMNS, convert
from suite.errors import SuiteError
from suite.experiments.plan import plan
from suite.experiments.schema import load_experiments

LINES = [
    "a.jpg,10,20,40,80,object,100,200",
    "b.jpg,0,0,50,50,object,60,50",
    "a.jpg,12.5,20,42,80,object,100,200",
]


class Sku:
    """A tiny SKU110K as its archive unpacks: three CSV files, one folder of images."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "images").mkdir(parents=True)
        (path / "annotations").mkdir()
        for name in ("a.jpg", "b.jpg"):
            (path / "images" / name).write_bytes(b"jpeg")
        for split in ("train", "val", "test"):
            self.write(split, LINES)

    def file(self, split: str) -> Path:
        return self.path / "annotations" / f"annotations_{split}.csv"

    def write(self, split: str, lines: list[str]) -> None:
        self.file(split).write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def sku(tmp_path: Path) -> Sku:
    return Sku(tmp_path / "SKU110K_fixed")


def test_a_folder_becomes_a_coco_root_without_copies(sku: Sku) -> None:
    sku.write("val", LINES[1:2])
    assert convert(sku.path).counts == {"train2017": (2, 3), "val2017": (1, 1)}
    train, val = coco.check_root(sku.path)
    assert (train.images, train.boxes, val.images, val.boxes) == (2, 3, 1, 1)
    assert train.categories == ((1, "object"),)
    content = json.loads(coco.annotation_file(sku.path, "train2017").read_text())
    assert content["images"][0] == {"id": 1, "file_name": "a.jpg", "width": 100, "height": 200}
    assert content["annotations"][2]["bbox"] == [12.5, 20, 29.5, 60]
    assert content["annotations"][2]["area"] == 29.5 * 60
    for split in coco.SPLITS:
        assert (sku.path / split).is_symlink() and (sku.path / split / "a.jpg").samefile(
            sku.path / "images" / "a.jpg"
        )
    before = coco.annotation_file(sku.path, "train2017").read_bytes()
    convert(sku.path)  # again: the same files
    assert coco.annotation_file(sku.path, "train2017").read_bytes() == before


def test_a_line_of_names_is_skipped_and_the_test_split_can_be_evaluated(sku: Sku, tmp_path: Path) -> None:
    sku.write("test", [",".join(COLUMNS), LINES[0]])
    out = tmp_path / "root"
    found = convert(sku.path, out, "test")
    assert found.counts == {"train2017": (2, 3), "val2017": (1, 1)}
    assert coco.check_root(out)[1].boxes == 1
    assert not (sku.path / "train2017").exists()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a.jpg,1,2,3,4,object,100"], [":1: expected 8 columns, image_name, x1,", "found 7: a.jpg, 1"]),
        ([",".join(reversed(COLUMNS)), LINES[0]], [":1: expected 8 columns", "found 8: image_height"]),
        ([LINES[0], "a.jpg,1,two,3,4,object,100,200"], [":2: y1 'two' is no number"]),
        ([LINES[0], "a.jpg,1,inf,3,4,object,100,200"], [":2: y1 'inf' is no number"]),
        ([LINES[0], "a.jpg,1,2,3"], [":2: y2 '' is no number"]),
        ([LINES[0], LINES[0] + ",9"], ["not a CSV file", "line 2"]),
        ([LINES[0], "a.jpg,1,2,3,4,object,101,200"], [":2: a.jpg is 101 x 200, not as in an earlier line"]),
        ([LINES[0], "c.jpg,1,2,3,4,object,9,9"], [":2: c.jpg is not in images/", "--lenient"]),
        ([LINES[0], "a.jpg,40,2,30,4,object,100,200"], [":2: the box (40, 2, 30, 4) is empty", "--lenient"]),
        (
            [LINES[0], "a.jpg,-1,2,30,4,object,100,200"],
            [":2: the box (-1, 2, 30, 4) is beyond its image of 100"],
        ),
        ([LINES[0], "a.jpg,1,2,130,4,object,100,200"], [":2: the box (1, 2, 130, 4) is beyond"]),
        ([LINES[0]] + ["c.jpg,1,2,3,4,object,9,9"] * 12, [":11: c.jpg", "and 2 lines more"]),
        ([], ["not a CSV file"]),
        ([",".join(COLUMNS)], ["holds no box"]),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_written(
    sku: Sku, lines: list[str], expected: list[str]
) -> None:
    sku.write("val", lines)
    with pytest.raises(SuiteError) as caught:
        convert(sku.path)
    for text in [str(sku.file("val")), *expected]:
        assert text in str(caught.value)
    assert caught.value.remedy
    assert not list(sku.path.glob("annotations/*.json")) and not (sku.path / "train2017").exists()


def test_missing_files_and_a_place_that_is_taken(sku: Sku) -> None:
    (sku.path / "val2017").mkdir()
    with pytest.raises(SuiteError, match=r"val2017: expected a link .*\n.*elsewhere with --out"):
        convert(sku.path)
    sku.file("val").unlink()
    with pytest.raises(SuiteError, match=r"annotations_val\.csv: not found"):
        convert(sku.path)
    with pytest.raises(SuiteError, match=r"images: this folder of SKU110K's images does not exist"):
        convert(sku.path / "annotations")


def test_leniently_boxes_are_cut_or_left_out_and_counted(sku: Sku) -> None:
    odd = [
        "a.jpg,-5,2,30,250,object,100,200",
        "a.jpg,100,2,130,4,object,100,200",
        "c.jpg,1,2,3,4,object,9,9",
    ]
    sku.write("val", [LINES[0], *odd])
    result = CliRunner().invoke(app, ["convert", "sku110k", str(sku.path), "--lenient"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "train2017: 2 images, 3 boxes",
        "val2017: 1 images, 2 boxes",
        "1 boxes of images that are not there, left out",
        "1 empty boxes, left out",
        "1 boxes cut at the borders of their image",
        f"COCO_ROOT={sku.path}",
    ]
    content = json.loads(coco.annotation_file(sku.path, "val2017").read_text())
    assert [thing["bbox"] for thing in content["annotations"]] == [[10, 20, 30, 60], [0, 2, 30, 198]]


def test_the_rows_that_wait_for_sku110k_are_planned_as_the_paper_trains_them(
    sku: Sku, project: Path, tmp_path: Path
) -> None:
    convert(sku.path)
    dataset = describe({"type": "coco", "root": str(sku.path)}, tmp_path / "data")
    (table,) = (one for one in load_experiments(project / "experiments") if one.id == "ltm.sku110k")
    planned = plan([table], "paper", [0], dataset, tmp_path / "runs")
    assert [run.spec.method for run in planned.runs] == ["retinanet", "ltm"]
    for run in planned.runs:
        assert run.config["model"]["test_cfg"]["max_per_img"] == 400
        assert run.config["model"]["bbox_head"]["num_classes"] == 1
        for loader in ("train_dataloader", "test_dataloader"):
            (resize,) = (
                step for step in run.config[loader]["dataset"]["pipeline"] if step["type"] == "Resize"
            )
            assert resize["scale"] == (1333, 800)
    ltm = planned.runs[1].config
    assert ltm["model"]["bbox_head"]["bag_size"] == 40 and ltm["optim_wrapper"]["optimizer"]["lr"] == 0.005
