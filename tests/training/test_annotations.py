"""The compact annotations are mmdet's own, entry by entry, and say what is wrong with a file."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from core_methods import use_mmdet
from mmdet.datasets import CocoDataset

from suite.errors import SuiteError
from suite.training import SeededCocoDataset, annotations
from suite.training.annotations import entries, read_boxes

CONTENT: dict[str, Any] = {
    "info": {"description": "a \"quoted\" [name], {and} more"},
    "images": [
        {"id": 900, "file_name": "ä 1.jpg", "width": 640, "height": 480},
        {"id": 5, "file_name": "b.jpg", "width": 40, "height": 31},
        {"id": 7, "file_name": "c.jpg", "width": 100, "height": 100},
        {"id": 8, "file_name": "d.jpg", "width": 100, "height": 100},
        {"id": 9, "file_name": "e.jpg", "width": 100, "height": 100},
    ],
    "annotations": [
        {"id": 3, "image_id": 7, "category_id": 2, "bbox": [1.25, 2, 30.1, 40.7], "area": 5.5, "iscrowd": 0,
         "segmentation": [[1.5, 2.5, 3.5, 4.5, 1e-3, -2]]},
        {"id": 1, "image_id": 900, "category_id": 9, "bbox": [0, 0, 50, 60], "area": 9, "iscrowd": 1,
         "segmentation": {"counts": [1, 2], "size": [480, 640]}},
        {"id": 2, "image_id": 7, "category_id": 9, "bbox": [90, 90, 30, 30], "area": 1, "iscrowd": 0},
        {"id": 4, "image_id": 7, "category_id": 9, "bbox": [0, 0, 0.5, 30], "area": 1, "iscrowd": 0},
        {"id": 5, "image_id": 7, "category_id": 9, "bbox": [0, 0, 5, 30], "area": 1, "ignore": 1},
        {"id": 6, "image_id": 8, "category_id": 4, "bbox": [0, 0, 5, 30], "area": 1, "iscrowd": 0},
        {"id": 7, "image_id": 5, "category_id": 2, "bbox": [0, 0, 5, 30], "area": 1, "iscrowd": 0},
        {"id": 8, "image_id": 404, "category_id": 2, "bbox": [0, 0, 5, 30], "area": 1, "iscrowd": 0},
    ],
    "categories": [{"id": 9, "name": "cat"}, {"id": 4, "name": "other"}, {"id": 2, "name": "dog"}],
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(CONTENT, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {"filter_cfg": {"filter_empty_gt": True, "min_size": 32}},
        {"filter_cfg": {"filter_empty_gt": False, "min_size": 32}},
        {"filter_cfg": None},
        {"test_mode": True, "filter_cfg": {"filter_empty_gt": True}},
        {"filter_cfg": None, "indices": 2},
        {"filter_cfg": None, "indices": -2},
        {"filter_cfg": None, "indices": [3, 0]},
    ],
)
def test_every_entry_is_mmdets(settings: dict[str, Any], file: Path) -> None:
    use_mmdet()
    common = {
        "ann_file": str(file), "data_prefix": {"img": "photos"}, "metainfo": {"classes": ("dog", "cat")},
        "pipeline": [], **settings,
    }  # fmt: skip
    theirs, ours = CocoDataset(**common), SeededCocoDataset(**common, seed=0)
    assert len(ours) == len(theirs) > 0
    assert (ours.cat_ids, ours.cat2label) == (theirs.cat_ids, theirs.cat2label)
    for index in range(len(theirs)):
        expected = theirs.get_data_info(index)
        for instance in expected["instances"]:
            instance.pop("mask", None)
        assert ours.get_data_info(index) == expected
        assert ours.get_cat_ids(index) == theirs.get_cat_ids(index)


def test_nothing_hangs_on_where_a_piece_ends(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = file.read_text(encoding="utf-8") + " \n"
    expected = [
        (section, entry) for section, rows in CONTENT.items() if isinstance(rows, list) for entry in rows
    ]
    for chunk in (1, 7, 64):
        monkeypatch.setattr(annotations, "_CHUNK", chunk)
        assert list(entries(io.StringIO(text))) == expected
    assert list(entries(io.StringIO('{"a": 12, "b": [], "c": [1234, null, "x"] }'))) == [
        ("c", 1234), ("c", None), ("c", "x"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text[: len(text) // 2], "half a download"),
        (lambda text: "", "expected '{', found 'the end of the file'"),
        (lambda text: "[1]", "expected '{', found '['"),
        (lambda text: text.replace('"bbox"', '"box"', 1), "KeyError: 'bbox'"),
        (lambda text: text.replace("[1.25, 2, ", "[1.25, ", 1), "not enough values"),
        (lambda text: text.replace('"id": 3', '"id": 1', 1), "given to several"),
        (lambda text: text.replace("}, {", "} {", 1), "expected ','"),
    ],
)
def test_a_damaged_file_is_named(spoil: Any, says: str, file: Path) -> None:
    file.write_text(spoil(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SuiteError) as caught:
        read_boxes(file)
    assert str(file) in str(caught.value) and says in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"absent.json: cannot read \(No such file"):
        read_boxes(tmp_path / "absent.json")


def test_a_file_without_images_or_without_objects(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    assert len(read_boxes(path).ids) == 0
    path.write_text(json.dumps({**CONTENT, "annotations": []}))
    found = read_boxes(path)
    assert found.annotations(0) == [] and found.first.tolist() == [0] * 6
