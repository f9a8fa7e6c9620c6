"""Each way in which a COCO folder can be wrong is named before training starts."""

import math
import os
import shutil

import pytest

from suite.data import coco, images
from suite.errors import SuiteError
from suite.files import sha256

TRAIN, VAL = coco.SPLITS


def annotation(index, **values):
    return lambda content: content["annotations"][index].update(values)


def test_a_whole_root_is_summarised(coco_root):
    train, val = coco.check_root(coco_root.path)
    assert (train.images, train.boxes) == (2, 2)  # the crowd is not counted
    assert train.categories == ((1, "person"), (3, "car"))
    assert train.notices == val.notices == ()
    assert len(train.fingerprint) == len(val.fingerprint) == 64


SPOILS = {
    "negative": (annotation(0, bbox=[1, 2, -3, 4]), ["1 (bbox [1, 2, -3, 4]"]),
    "nan": (annotation(1, bbox=[1, math.nan, 3, 4]), ["2 (bbox [1, nan, 3, 4]"]),
    "infinite": (annotation(1, bbox=[1, 1, math.inf, 4]), ["2 (bbox"]),
    "not numbers": (annotation(1, bbox=["1", 1, 3, 4]), ["2 (bbox"]),
    "three numbers": (annotation(1, bbox=[1, 1, 3]), ["2 (bbox [1, 1, 3]"]),
    "no bbox": (annotation(1, bbox=None), ["2 (bbox None"]),
    "negative area": (annotation(1, area=-1), ["area -1"]),
    "duplicate annotation": (annotation(1, id=1), ["annotations: 1", "unique"]),
    "annotation id 0": (annotation(0, id=0), ["found 0", "from 1"]),
    "annotation id text": (annotation(0, id="a"), ["whole numbers", "a"]),
    "unknown category": (annotation(0, category_id=90), ["category_id", "1 (90)"]),
    "unknown image": (annotation(0, image_id=77), ["image_id", "1 (77)"]),
    "iscrowd 2": (annotation(0, iscrowd=2), ["iscrowd", "1 (2)"]),
    "no iscrowd": (lambda c: c["annotations"][1].pop("iscrowd"), ["'iscrowd' is missing in 1", ": 2"]),
    "no area": (lambda c: c["annotations"][1].pop("area"), ["'area' is missing in 1 annotations: 2"]),
    "no id": (lambda c: c["annotations"][1].pop("id"), ["'id' is missing in 1 annotations: number 2"]),
    "duplicate image": (lambda c: c["images"].append(dict(c["images"][0])), ["images: 7"]),
    "duplicate category": (lambda c: c["categories"].append({"id": 3, "name": "x"}), ["categories: 3"]),
    "no images": (lambda c: c.pop("images"), ["no list of images"]),
    "no boxes": (lambda c: c["annotations"].clear(), ["no box in 2 images"]),
}  # fmt: skip


@pytest.mark.parametrize("split", [TRAIN, VAL])
@pytest.mark.parametrize("case", SPOILS)
def test_inconsistent_annotations_are_named(coco_root, case, split):
    change, expected = SPOILS[case]
    coco_root.spoil(split, change)
    with pytest.raises(SuiteError) as caught:
        coco.check_root(coco_root.path)
    for text in [str(coco_root.file(split)), *expected]:
        assert text in str(caught.value)


def test_many_bad_ids_are_counted_and_ten_are_shown(coco_root):
    def change(content):
        row = content["annotations"][0]
        content["annotations"] = [{**row, "id": 100 + i, "bbox": [0, 0, -1, 1]} for i in range(25)]

    coco_root.spoil(TRAIN, change)
    with pytest.raises(SuiteError, match=r"25 annotations .*109 .* and 15 more") as caught:
        coco.check_root(coco_root.path)
    assert "110 (" not in str(caught.value)


def test_boxes_without_size_are_stated_in_training_and_refused_in_validation(coco_root):
    outside = {"bbox": [40, 2, 5, 5]}  # of an image 40 pixels wide
    for values in ({"bbox": [1, 2, 0, 4]}, {"bbox": [1, 2, 0.5, 4]}, {"area": 0}, outside, {"ignore": 1}):
        coco_root.content[TRAIN]["annotations"][0].update(bbox=[1, 2, 10, 20], area=150.5, ignore=0)
        coco_root.spoil(TRAIN, annotation(0, **values))
        train, _ = coco.check_root(coco_root.path)
        assert train.boxes == 1
        (notice,) = train.notices
        assert "ignores 1 annotations" in notice and ": 1 (bbox" in notice

    coco_root.spoil(VAL, annotation(0, bbox=[1, 2, 0.5, 4]))  # small but detectable
    assert coco.check_root(coco_root.path)[1].boxes == 2
    coco_root.spoil(VAL, annotation(0, bbox=[1, 2, 4, 0]))
    with pytest.raises(SuiteError, match=r"zero width or height: 1 \(bbox \[1, 2, 4, 0\]") as caught:
        coco.check_root(coco_root.path)
    assert "instances_val2017.json" in caught.value.message


ODD = [
    {"bbox": [1, 2, 10, 20]}, {"bbox": [1, 2, 0.9, 20]}, {"bbox": [1, 2, 10, 0.5]}, {"bbox": [1, 2, 1, 1]},
    {"area": 0}, {"area": 0.5}, {"ignore": 1}, {"ignore": 0}, {"iscrowd": 1}, {"iscrowd": 1, "area": 0},
    {"bbox": [-9, 2, 10, 20]}, {"bbox": [-10, 2, 10, 20]}, {"bbox": [40, 2, 10, 20]},
    {"bbox": [39, 29, 10, 20]}, {"bbox": [1, 30, 10, 20]}, {"bbox": [1, -25, 10, 20]},
]  # fmt: skip


def test_ignored_is_what_mmdet_leaves_out(coco_root):
    from mmdet.datasets import CocoDataset

    row = {**coco_root.content[TRAIN]["annotations"][0], "image_id": 7}
    rows = [{**row, **values, "id": number} for number, values in enumerate(ODD, start=1)]
    for number, one in enumerate(rows, start=1):  # a category each, to tell them apart
        one["category_id"] = number
    categories = [{"id": number, "name": f"odd {number}"} for number in range(1, len(rows) + 1)]
    coco_root.spoil(TRAIN, lambda content: content.update(annotations=rows, categories=categories))
    classes = tuple(one["name"] for one in categories)
    loaded = CocoDataset(
        str(coco_root.file(TRAIN)), metainfo={"classes": classes}, data_prefix={"img": ""}, lazy_init=True
    )
    (image,) = (one for one in loaded.load_data_list() if one["img_id"] == 7)
    kept = {instance["bbox_label"] + 1 for instance in image["instances"]}
    described = coco_root.content[TRAIN]["images"][0]
    assert {one["id"] for one in rows if not coco.is_ignored(one, described)} == kept
    assert 0 < len(kept) < len(rows)


@pytest.mark.parametrize("side", ["40", None, 0, -1, float("nan")])
def test_images_without_a_size_are_refused(coco_root, side):
    coco_root.spoil(TRAIN, lambda content: content["images"][1].update(width=side))
    with pytest.raises(SuiteError, match=r"width and height must be above 0, found in images 8 \("):
        coco.check_root(coco_root.path)


def test_missing_root_and_parts_are_listed(coco_root):
    with pytest.raises(SuiteError, match="nowhere: this COCO folder does not exist"):
        coco.check_root(coco_root.path / "nowhere")
    shutil.rmtree(coco_root.path / VAL)
    coco_root.file(TRAIN).unlink()
    with pytest.raises(SuiteError) as caught:
        coco.check_root(coco_root.path)
    assert f"{coco_root.path / VAL}/" in caught.value.message
    assert str(coco_root.file(TRAIN)) in caught.value.message
    assert str(coco_root.file(VAL)) not in caught.value.message


@pytest.mark.parametrize("keep", [0, 1, 200])
def test_half_a_download_is_recognised(coco_root, keep):
    path = coco_root.file(VAL)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SuiteError, match=f"instances_val2017.json: .*{keep} bytes may be half a download"):
        coco.check_root(coco_root.path)


def test_json_of_another_kind_is_refused(coco_root):
    coco_root.file(VAL).write_text("[1, 2]")
    with pytest.raises(SuiteError, match="not a COCO instances file"):
        coco.check_root(coco_root.path)


def test_images_that_are_not_on_disk_are_named(coco_root):
    def change(content):
        content["images"] += [
            {"id": 100 + i, "file_name": f"{i:03d}.jpg", "width": 4, "height": 4} for i in range(12)
        ]

    coco_root.spoil(TRAIN, change)
    with pytest.raises(SuiteError, match=r"12 of 14 images .*000.jpg.*009.jpg and 2 more"):
        coco.check_root(coco_root.path)


def test_categories_must_agree_between_the_splits(coco_root):
    coco_root.spoil(VAL, lambda content: content["categories"][0].update(name="lorry"))
    with pytest.raises(SuiteError, match=r"differ: 3 'car', 3 'lorry'"):
        coco.check_root(coco_root.path)


def test_a_passed_check_is_remembered_until_something_changes(coco_root, tmp_path, monkeypatch):
    cache = tmp_path / "fingerprints.json"
    coco_root.spoil(TRAIN, annotation(0, bbox=[1, 2, 0.5, 4]))
    first = coco.check_root(coco_root.path, cache)

    reads = []
    original = coco.read_annotations
    monkeypatch.setattr(coco, "read_annotations", lambda path: reads.append(path) or original(path))
    assert coco.check_root(coco_root.path, cache) == first
    assert reads == []

    coco_root.spoil(VAL, annotation(0, area=151.25))
    changed = coco.check_root(coco_root.path, cache)
    assert reads == [coco_root.file(VAL)]
    assert changed[0] == first[0] and changed[1].fingerprint != first[1].fingerprint

    cache.write_text("{")  # a broken cache is made anew
    assert coco.check_root(coco_root.path, cache) == changed

    (coco_root.path / TRAIN / "7.jpg").unlink()
    with pytest.raises(SuiteError, match=r"7\.jpg"):
        coco.check_root(coco_root.path, cache)


def rewrite(path, content, time=None):
    """Write into the same file, as an editor does: its folder's time stays."""
    before = path.stat().st_mtime_ns
    with path.open("r+b") as stream:
        stream.write(content)
        stream.truncate()
    os.utime(path, ns=(before, before + 1_000 if time is None else time))


@pytest.mark.parametrize("content", [b"jpgs", b"another photo"])
def test_a_photo_that_is_overwritten_is_another_split(coco_root, tmp_path, content):
    cache = tmp_path / "fingerprints.json"
    train, val = coco.check_root(coco_root.path, cache)
    rewrite(coco_root.path / VAL / "7.jpg", content)
    again = coco.check_root(coco_root.path, cache)
    assert again[0].fingerprint == train.fingerprint
    assert again[1].fingerprint != val.fingerprint
    assert again == coco.check_root(coco_root.path), "the same without a memory"
    rewrite(coco_root.path / VAL / "7.jpg", b"jpeg")
    assert coco.check_root(coco_root.path, cache) == (train, val), "the content counts, not the time"


def test_images_are_read_again_only_where_size_or_time_changed(coco_root, tmp_path, monkeypatch):
    cache = tmp_path / "fingerprints.json"
    first = coco.check_root(coco_root.path, cache)
    read = []
    monkeypatch.setattr(images, "sha256", lambda path: read.append(path.name) or sha256(path))
    assert coco.check_root(coco_root.path, cache) == first
    assert read == []
    os.utime(coco_root.path / VAL / "8.jpg", ns=(0, 5))
    assert coco.check_root(coco_root.path, cache) == first
    assert read == ["8.jpg"]
    assert coco.check_root(coco_root.path, cache) == first
    assert read == ["8.jpg"], "the new time is remembered"


def test_a_file_that_no_annotation_names_does_not_count(coco_root, tmp_path):
    cache = tmp_path / "fingerprints.json"
    first = coco.check_root(coco_root.path, cache)
    (coco_root.path / VAL / "notes.txt").write_text("new")
    assert coco.check_root(coco_root.path, cache) == first


@pytest.mark.parametrize("damage", [b"", b"# name\n7.jpg\tx\ty\tz\n"])
def test_a_damaged_memory_of_images_is_made_anew(coco_root, tmp_path, damage):
    cache = tmp_path / "fingerprints.json"
    first = coco.check_root(coco_root.path, cache)
    for memory in tmp_path.glob("images-*.tsv"):
        memory.write_bytes(damage)
    assert coco.check_root(coco_root.path, cache) == first
    assert all(len(memory.read_bytes()) > 200 for memory in tmp_path.glob("images-*.tsv"))
