"""The shapes dataset: the same bytes everywhere, whole or absent, and with something in every slice."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from suite.data import scenes, shapes
from suite.data.categories import CATEGORIES
from suite.data.outlines import outline
from suite.data.shapes import ShapesSpec
from suite.data.statistics import COCO_VAL2017, statistics
from suite.errors import SuiteError

SMALL = ShapesSpec(train_images=12, val_images=11, image_size=96, seed=3)


def test_what_is_drawn_is_pinned(project):
    """Change what is drawn, and this fails until shapes.PIXELS, and so every fingerprint, changes too."""
    drawn, digest = scenes.reference()
    folder = project / "tests" / "data"
    annotations = json.loads((folder / "reference_annotations.json").read_text())
    assert [one for _, one in drawn] == annotations
    with np.load(folder / "reference_scenes.npz") as stored:
        pinned = [stored[str(seed)].astype(int) for seed in scenes.REFERENCE]
    # Another processor may round a pixel in ten thousand by one level: then it draws another dataset, and
    # says so (test_other_pixels_are_stated), but the code is the same.
    differing = [np.abs(image.astype(int) - old) for (image, _), old in zip(drawn, pinned, strict=True)]
    assert max(one.max() for one in differing) <= 1
    assert sum((one > 0).sum() for one in differing) <= 1e-3 * sum(one.size for one in differing)
    exact = all((one == 0).all() for one in differing)
    assert (digest == shapes.PIXELS) == exact
    seen = {row["category_id"] for one in annotations for row in one}
    assert seen == set(range(1, len(CATEGORIES) + 1))
    assert any(row["iscrowd"] for one in annotations for row in one)


def test_a_split_is_another_only_where_its_own_images_change():
    spec = ShapesSpec()
    more = ShapesSpec(val_images=300)
    assert more.fingerprint_of("train2017") == spec.fingerprint_of("train2017")
    assert more.fingerprint_of("val2017") != spec.fingerprint_of("val2017")
    assert more.fingerprint != spec.fingerprint


def test_other_pixels_are_another_dataset(monkeypatch):
    before = ShapesSpec().fingerprint_of("train2017")
    monkeypatch.setattr(shapes, "PIXELS", "0" * 64)
    assert ShapesSpec().fingerprint_of("train2017") != before


def test_other_pixels_are_stated(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scenes, "reference", lambda: ([], "1" * 64))
    shapes.generate(SMALL, tmp_path / SMALL.name)
    message = capsys.readouterr().err
    assert "draws other pixels" in message and "OpenCV" in message
    assert json.loads((tmp_path / SMALL.name / shapes.RECORD).read_text())["pixels"] == "1" * 64


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path):
    for workers in (1, 3):
        shapes.generate(SMALL, tmp_path / str(workers), progress=False, workers=workers)
    one, three = contents(tmp_path / "1"), contents(tmp_path / "3")
    assert len(one) == 12 + 11 + 3
    assert one == three


def test_a_longer_split_begins_with_the_shorter_one(tmp_path):
    longer = ShapesSpec(train_images=14, val_images=11, image_size=96, seed=3)
    for spec in (SMALL, longer):
        shapes.generate(spec, tmp_path / spec.name, progress=False)
    short, long = contents(tmp_path / SMALL.name), contents(tmp_path / longer.name)
    images = [name for name in short if name.endswith(".jpg")]
    assert len(images) == 23
    assert all(short[name] == long[name] for name in images)
    assert short["annotations/instances_val2017.json"] == long["annotations/instances_val2017.json"]


def test_the_name_follows_from_the_spec_alone():
    names = {
        spec.name
        for spec in (ShapesSpec(), ShapesSpec(seed=1), ShapesSpec(image_size=320), ShapesSpec(400, 201))
    }
    assert len(names) == 4
    assert ShapesSpec.from_config({"type": "shapes", "seed": 0}) == ShapesSpec()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"train_images": 0}, "dataset.train_images: found 0, expected a whole number from 1"),
        ({"val_images": 2.5}, "dataset.val_images: found 2.5"),
        ({"image_size": 32}, "dataset.image_size: found 32, expected a whole number from 96"),
        ({"seed": -1}, "dataset.seed: found -1"),
        ({"seed": True}, "dataset.seed: found True"),
        ({"train_image": 4}, "dataset.train_image: unknown field.* 'train_images'"),
    ],
)
def test_a_wrong_spec_is_refused(config, expected):
    with pytest.raises(SuiteError, match=expected):
        ShapesSpec.from_config({"type": "shapes", **config})


@pytest.mark.parametrize("category", CATEGORIES)
def test_outlines_fill_their_unit_box(category):
    for seed in range(20):
        curves = outline(category, np.random.default_rng(seed))
        low, high = curves[0].min(axis=0), curves[0].max(axis=0)
        np.testing.assert_allclose(low, -high, atol=1e-9)
        assert np.prod(high - low) == pytest.approx(1)
        assert (np.concatenate(curves) >= low - 1e-9).all()


@pytest.mark.parametrize(
    ("category", "acentric"),
    [(name, name in {"ring", "crescent", "elbow", "hook"}) for name in CATEGORIES],
)
def test_what_is_at_the_centre_of_a_box(category, acentric):
    inside = []
    for seed in range(30):
        mask = np.zeros((200, 200), np.uint8)
        curves = outline(category, np.random.default_rng(seed))
        cv2.fillPoly(mask, [np.round(curve * 60 + 100).astype(np.int32) for curve in curves], 1)
        inside.append(mask[100, 100])
    assert np.mean(inside) == (0 if acentric else 1)


def test_annotations_describe_the_visible_pixels(drawn):
    _, root = drawn
    for split in shapes.SPLITS:
        content = json.loads(shapes.annotation_file(root, split).read_text())
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        assert len(set(sizes.values())) == 3  # several proportions
        ids = [row["id"] for row in content["annotations"]]
        assert len(set(ids)) == len(ids) and min(ids) >= 1
        for row in content["annotations"]:
            x, y, w, h = row["bbox"]
            width, height = sizes[row["image_id"]]
            assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height
            assert 8 <= row["area"] <= w * h
        first = content["images"][0]
        image = cv2.imread(str(root / split / first["file_name"]))
        assert image.shape == (first["height"], first["width"], 3)


def test_no_object_is_mostly_hidden():
    for index in range(8):
        rng = np.random.default_rng([0, index])
        scene = scenes._Scene(rng, 256, 256)
        for size in np.linspace(90, 12, 25):
            scenes._place_freely(scene, size)
        assert len(scene.objects) > 8
        for number, thing in enumerate(scene.objects, 1):
            visible = (scene.owner == number).sum()
            assert visible == thing.visible >= 0.65 * thing.pixels


def test_a_crowd_region_has_coco_run_lengths(drawn):
    _, root = drawn
    found = 0
    for split in shapes.SPLITS:
        content = json.loads(shapes.annotation_file(root, split).read_text())
        sizes = {image["id"]: [image["height"], image["width"]] for image in content["images"]}
        for row in content["annotations"]:
            if row["iscrowd"]:
                found += 1
                assert row["segmentation"]["size"] == sizes[row["image_id"]]
                runs = row["segmentation"]["counts"]
                flat = np.repeat(np.arange(len(runs)) % 2, runs)
                mask = flat.reshape(row["segmentation"]["size"], order="F")
                ys, xs = np.nonzero(mask)
                box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
                assert box == row["bbox"] and mask.sum() == row["area"]
    assert 4 <= found <= 30


def damage_annotations(root):
    path = shapes.annotation_file(root, "val2017")
    path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))


def damage_record(root):
    (root / shapes.RECORD).write_text('{"fingerprint": ')


def damage_record_content(root):
    record = json.loads((root / shapes.RECORD).read_text())
    del record["splits"]["val2017"]["bytes"]
    (root / shapes.RECORD).write_text(json.dumps(record))


DAMAGES = {
    "annotations": (damage_annotations, "changed since it was generated"),
    "annotations gone": (lambda r: shapes.annotation_file(r, "train2017").unlink(), "missing"),
    "record": (damage_record, "truncated"),
    "record content": (damage_record_content, "not a record"),
    "image gone": (lambda r: next((r / "train2017").iterdir()).unlink(), "found 11 images"),
    "image cut": (lambda r: next((r / "train2017").iterdir()).write_bytes(b"x"), "bytes"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_stated_and_repaired(tmp_path, capsys, case):
    root = tmp_path / SMALL.name
    shapes.generate(SMALL, root, progress=False)
    whole = contents(root)
    stamp = (root / shapes.RECORD).stat().st_mtime_ns
    shapes.generate(SMALL, root, progress=False)
    assert (root / shapes.RECORD).stat().st_mtime_ns == stamp  # whole: left alone
    assert capsys.readouterr().err == ""

    spoil, reason = DAMAGES[case]
    spoil(root)
    assert reason in shapes.damage(SMALL, root)
    shapes.generate(SMALL, root, progress=False)
    assert contents(root) == whole
    message = capsys.readouterr().err
    assert reason in message and f"Drawing {SMALL.name} again" in message


def test_plain_progress_where_the_output_is_no_terminal(tmp_path, capsys):
    shapes.generate(SMALL, tmp_path / SMALL.name)
    assert capsys.readouterr().err.splitlines() == [
        f"Drawing {SMALL.name}: 23 images.",
        f"Drew {SMALL.name}.",
    ]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(scenes, "write_image", fail)
    with pytest.raises(KeyboardInterrupt):
        shapes.generate(SMALL, tmp_path / SMALL.name, progress=False)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SuiteError, match=r"file.*cannot write the shapes dataset"):
        shapes.generate(SMALL, tmp_path / "file" / SMALL.name, progress=False)


SCRIPT = """
import sys
from pathlib import Path
from suite.data.shapes import ShapesSpec, generate
if __name__ == "__main__":
    generate(ShapesSpec(train_images=3000, val_images=1), Path(sys.argv[1]), progress=False, workers=2)
"""


def test_a_killed_generation_leaves_no_process_and_is_cleaned_up(tmp_path, project):
    (tmp_path / "script.py").write_text(SCRIPT)
    root = tmp_path / "data" / "set"
    environment = {**os.environ, "PYTHONPATH": str(project)}
    child = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(root)], env=environment, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("data/.set.tmp-*/train2017/*.jpg")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    # Every worker holds the pipe: it ends when the last one is gone.
    child.communicate(timeout=10)
    assert not root.exists()
    (leftover,) = tmp_path.glob("data/.set.tmp-*")
    shapes.generate(SMALL, root, progress=False)
    assert not leftover.exists()
    assert shapes.damage(SMALL, root) is None


def test_two_processes_at_once_draw_one_whole_dataset(tmp_path):
    root = tmp_path / SMALL.name
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=shapes.generate, args=(SMALL, root, False)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert shapes.damage(SMALL, root) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([SMALL.name, f".{SMALL.name}.lock"])


DISTANCES = {5: 0.5, 10: 0.5, 25: 0.5, 50: 0.5, 75: 1.0, 90: 1.0, 95: 1.0}
"""Quantile of the sizes -> largest distance from COCO's, in octaves (docs/decisions/evidence.md)."""


def test_objects_are_as_in_coco(drawn):
    _, root = drawn
    content = json.loads(shapes.annotation_file(root, "train2017").read_text())
    found = statistics(content, scenes.STRIDES_PER_IMAGE)
    for quantile, distance in DISTANCES.items():
        away = abs(np.log2(found.sizes[quantile] / COCO_VAL2017.sizes[quantile]))
        assert away <= distance, (quantile, found.sizes)
    assert np.log2(found.sizes[95] / found.sizes[5]) >= 4
    for quantile, ratio in COCO_VAL2017.aspect_ratios.items():
        assert found.aspect_ratios[quantile] == pytest.approx(ratio, rel=0.15)
    assert found.objects[50] == pytest.approx(4, abs=1) and found.objects[90] == pytest.approx(18, abs=3)
    assert found.crowdedness == pytest.approx(COCO_VAL2017.crowdedness, abs=0.06)
    assert found.cut == pytest.approx(COCO_VAL2017.cut, abs=0.08)
    assert found.most_frequent >= 5


def test_the_reader_of_statistics_counts_right():
    def box(number, image, category, bbox, crowd=0):
        return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": crowd,
                "area": bbox[2] * bbox[3]}  # fmt: skip

    images = [{"id": number, "width": 96, "height": 48} for number in (1, 2, 3)]
    rows = [
        box(1, 1, 1, [0, 10, 8, 2]),
        box(2, 1, 1, [20, 10, 16, 4]),
        box(3, 1, 1, [21, 10, 16, 4]),
        box(4, 2, 2, [40, 10, 4, 16]),
        box(5, 2, 2, [40, 10, 4, 16], crowd=1),
    ]
    found = statistics({"images": images, "annotations": rows}, 48)  # a stride is 2 pixels
    assert found.sizes[50] == 4 and found.sizes[5] < 4  # sides of 2 x 1 (cut: 2), 4 x 4 in strides
    assert found.aspect_ratios == dict.fromkeys(found.aspect_ratios, 4.0)
    assert found.objects[50] == 2  # of 3 and 1; the empty image does not count
    assert found.crowdedness == pytest.approx((2 / 3, 0, 1 / 3))
    assert found.cut == 0.25 and found.most_frequent == 3
