"""A few images of a COCO root."""

import json
from pathlib import Path

import pytest

from suite.data import coco
from suite.data.excerpt import excerpt


def _root(folder: Path, images: int) -> Path:
    """A COCO root whose image k has k boxes, but for image 3, which has none."""
    for split in coco.SPLITS:
        (folder / split).mkdir(parents=True)
        rows = [(image, box) for image in range(1, images + 1) if image != 3 for box in range(image)]
        content = {
            "images": [
                {"id": image, "file_name": f"{image:03}.jpg", "width": 64, "height": 48}
                for image in range(1, images + 1)
            ],
            "annotations": [
                {"id": number, "image_id": image, "category_id": 1 + box % 2, "bbox": [box % 40, 1, 5, 6],
                 "area": 30, "iscrowd": 0, "segmentation": [[0, 0, 1, 1, 2, 2]]}
                for number, (image, box) in enumerate(rows, 1)
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 7, "name": "emu"}],
        }  # fmt: skip
        for image in content["images"]:
            (folder / split / image["file_name"]).write_bytes(b"photo")
        path = coco.annotation_file(folder, split)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


def _images(root: Path, split: str) -> list[int]:
    return [image["id"] for image in json.loads(coco.annotation_file(root, split).read_text())["images"]]


def test_it_is_a_coco_root_with_the_fullest_images_and_all_categories(tmp_path: Path) -> None:
    root = _root(tmp_path / "coco", 40)
    excerpt(root, tmp_path / "data" / "few", train_images=16, val_images=8)
    train, val = coco.check_root(tmp_path / "data" / "few")
    assert (train.images, val.images) == (16, 8)
    assert train.categories == ((1, "cat"), (2, "dog"), (7, "emu"))
    assert {37, 38, 39, 40} <= set(_images(tmp_path / "data" / "few", "train2017"))
    assert min(_images(tmp_path / "data" / "few", "train2017")) < 5  # not the fullest alone
    assert (tmp_path / "data" / "few" / "train2017" / "040.jpg").read_bytes() == b"photo"


def test_training_images_have_boxes_and_validation_images_need_none(tmp_path: Path) -> None:
    root = _root(tmp_path / "coco", 5)
    excerpt(root, tmp_path / "few", train_images=16, val_images=8)
    assert _images(tmp_path / "few", "train2017") == [1, 2, 4, 5]
    assert _images(tmp_path / "few", "val2017") == [1, 2, 3, 4, 5]


def test_it_is_made_once(tmp_path: Path) -> None:
    root = _root(tmp_path / "coco", 5)
    excerpt(root, tmp_path / "few", 2, 2)
    before = coco.annotation_file(tmp_path / "few", "val2017").stat().st_mtime_ns
    excerpt(root, tmp_path / "few", 2, 2)
    assert coco.annotation_file(tmp_path / "few", "val2017").stat().st_mtime_ns == before


def test_half_an_excerpt_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _root(tmp_path / "coco", 5)
    coco.annotation_file(root, "val2017").write_text("{")
    with pytest.raises(ValueError):
        excerpt(root, tmp_path / "data" / "few", 2, 2)
    assert list((tmp_path / "data").iterdir()) == []
