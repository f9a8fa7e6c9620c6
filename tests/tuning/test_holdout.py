"""Held-out training images: the parts, and that they are written once and whole."""

import json
from pathlib import Path
from typing import Any

import pytest

from suite.data.coco import annotation_file
from suite.data.dataset import Dataset, describe, prepare
from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.tuning.holdout import hold_out, write_holdout
from suite.tuning.study import Holdout


def _coco(root: Path, images: int = 20) -> None:
    """A COCO root; every training image has a box, every fourth another one without a height or outside."""
    for split, first in (("train2017", 1), ("val2017", 1001)):
        (root / split).mkdir(parents=True)
        rows: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        for number in range(first, first + images):
            (root / split / f"{number}.jpg").touch()
            rows["images"].append({"id": number, "file_name": f"{number}.jpg", "width": 64, "height": 64})
            boxes = [[1, 2, 10, 10]]
            if number % 4 == 0 and split == "train2017":
                boxes.append([1, 2, 10, 0] if number % 8 else [64, 2, 10, 10])
            for box in boxes:
                rows["annotations"].append(
                    {"id": len(rows["annotations"]) + 1, "image_id": number, "category_id": 1,
                     "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "segmentation": [[0.0] * 8]}
                )  # fmt: skip
        path = annotation_file(root, split)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**rows, "categories": [{"id": 1, "name": "disc"}]}))


@pytest.fixture
def base(tmp_path: Path) -> Dataset:
    _coco(tmp_path / "coco")
    return describe({"type": "coco", "root": str(tmp_path / "coco")}, tmp_path / "data")


def _ids(path: Path) -> set[int]:
    return {image["id"] for image in json.loads(path.read_text())["images"]}


def _wanted(fraction: float = 0.25, at_most: int = 100, seed: int = 0) -> Holdout:
    return Holdout(fraction=fraction, at_most=at_most, seed=seed)


def test_the_parts_are_disjoint_and_make_up_the_training_images(base: Dataset, tmp_path: Path) -> None:
    held = hold_out(base, _wanted(), tmp_path / "data")
    write_holdout(base, held, seed=0)
    train, out = _ids(held.train.annotations), _ids(held.val.annotations)
    assert (len(train), len(out)) == (held.train.n_images, held.val.n_images) == (15, 5)
    assert train | out == _ids(base.train.annotations)
    assert not train & out
    assert not (train | out) & _ids(base.val.annotations)
    assert held.train.images == held.val.images == base.train.images
    prepare(held)


def test_the_evaluated_part_has_no_boxes_that_training_ignores(base: Dataset, tmp_path: Path) -> None:
    held = hold_out(base, _wanted(fraction=0.5), tmp_path / "data")
    write_holdout(base, held, seed=0)
    truth = GroundTruth.load(held.val.annotations)
    assert len(truth.objects) == len(truth.images) == 10
    kept = json.loads(held.train.annotations.read_text())["annotations"]
    assert len(kept) + len(truth.objects) + sum(1 for one in _ids(held.val.annotations) if one % 4 == 0) == 25


def test_seed_and_size_make_another_dataset(base: Dataset, tmp_path: Path) -> None:
    data = tmp_path / "data"
    one, two = hold_out(base, _wanted(), data), hold_out(base, _wanted(seed=1), data)
    three = hold_out(base, _wanted(at_most=3), data)
    assert three.val.n_images == 3
    fingerprints = {base.fingerprint, one.fingerprint, two.fingerprint, three.fingerprint}
    assert len(fingerprints) == 4
    assert len({one.root, two.root, three.root}) == 3
    for held, seed in ((one, 0), (two, 1)):
        write_holdout(base, held, seed)
    assert _ids(one.val.annotations) != _ids(two.val.annotations)
    assert hold_out(base, _wanted(), data) == one


def test_a_larger_part_holds_the_smaller_one(base: Dataset, tmp_path: Path) -> None:
    small, large = (hold_out(base, _wanted(at_most=count), tmp_path / "data") for count in (2, 4))
    for held in (small, large):
        write_holdout(base, held, seed=0)
    assert _ids(small.val.annotations) < _ids(large.val.annotations)


def test_written_once_and_mended_where_damaged(base: Dataset, tmp_path: Path) -> None:
    held = hold_out(base, _wanted(), tmp_path / "data")
    write_holdout(base, held, seed=0)
    before = held.val.annotations.read_bytes()
    written = held.val.annotations.stat().st_mtime_ns
    write_holdout(base, held, seed=0)
    assert held.val.annotations.stat().st_mtime_ns == written
    held.val.annotations.write_bytes(before[: len(before) // 2])
    write_holdout(base, held, seed=0)
    assert held.val.annotations.read_bytes() == before


def test_generated_images_can_be_held_out_too(tmp_path: Path) -> None:
    shapes = {"type": "shapes", "train_images": 6, "val_images": 2, "image_size": 96, "seed": 0}
    base = describe(shapes, tmp_path)
    held = hold_out(base, _wanted(fraction=1 / 3), tmp_path)  # described before anything is drawn
    prepare(base, progress=False)
    write_holdout(base, held, seed=0)
    prepare(held, progress=False)
    assert len(GroundTruth.load(held.val.annotations).images) == 2
    assert held.train.n_images == 4


def test_something_must_be_left_to_train_on(base: Dataset, tmp_path: Path) -> None:
    from dataclasses import replace

    one = replace(base, train=replace(base.train, n_images=1))
    with pytest.raises(SuiteError, match="none would be left"):
        hold_out(one, _wanted(), tmp_path)
