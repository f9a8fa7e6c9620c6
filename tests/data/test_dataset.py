"""What a preset's dataset dict becomes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.data import describe, prepare
from suite.data.categories import CATEGORIES
from suite.errors import SuiteError


def test_shapes_are_described_before_they_are_drawn(tmp_path):
    config = {"type": "shapes", "train_images": 6, "val_images": 5, "image_size": 128}
    before = describe(config, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert before.name == f"shapes-{before.fingerprint[:8]}" and before.root == tmp_path / before.name
    assert before.categories == CATEGORIES
    assert (before.train.n_images, before.train.n_boxes, before.val.n_images) == (6, 0, 5)

    prepare(before, progress=False)
    after = describe(config, tmp_path)
    assert after.fingerprint == before.fingerprint
    assert after.train.n_boxes > 0
    assert len(list(after.val.images.iterdir())) == 5 and after.val.annotations.is_file()


def test_a_broken_record_does_not_stop_the_repair(tmp_path):
    config = {"type": "shapes", "train_images": 2, "val_images": 2, "image_size": 128}
    dataset = describe(config, tmp_path)
    prepare(dataset, progress=False)
    boxes = describe(config, tmp_path).train.n_boxes
    (dataset.root / "fingerprint.json").write_text("{")
    assert describe(config, tmp_path).train.n_boxes == 0
    prepare(describe(config, tmp_path), progress=False)
    assert describe(config, tmp_path).train.n_boxes == boxes


def test_a_coco_folder_is_described(coco_root, tmp_path):
    dataset = describe({"type": "coco", "root": str(coco_root.path)}, tmp_path / "data")
    assert (dataset.name, dataset.kind, dataset.root) == ("coco", "coco", coco_root.path)
    assert dataset.categories == ("person", "car")  # by ascending id
    assert (dataset.val.n_images, dataset.val.n_boxes) == (2, 2)
    assert (tmp_path / "data" / "fingerprints.json").is_file()
    prepare(dataset)
    coco_root.file("val2017").unlink()
    with pytest.raises(SuiteError, match=r"instances_val2017\.json: vanished"):
        prepare(dataset)


def test_notices_reach_the_dataset(coco_root, tmp_path):
    coco_root.spoil("train2017", lambda content: content["annotations"][0].update(bbox=[0, 0, 0, 5]))
    for _ in range(2):  # also from the cache
        dataset = describe({"type": "coco", "root": str(coco_root.path)}, tmp_path)
        assert len(dataset.notices) == 1 and "ignores 1" in dataset.notices[0]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"type": "shape"}, "found 'shape', expected 'shapes' or 'coco'. Did you mean 'shapes'"),
        ({}, "dataset.type: found None"),
        ({"type": "coco"}, "root='<folder>'"),
        ({"type": "coco", "root": ""}, "root='<folder>'"),
        ({"type": "coco", "root": "x", "seed": 1}, "nothing else"),
        ({"type": "coco", "root": "/does/not/exist"}, "/does/not/exist: this COCO folder does not exist"),
    ],
)
def test_a_wrong_config_is_refused(config, expected, tmp_path):
    with pytest.raises(SuiteError, match=expected):
        describe(config, tmp_path)


def test_describing_is_quick_and_imports_nothing_heavy(drawn):
    _, root = drawn
    start = time.perf_counter()
    assert describe({"type": "shapes"}, root.parent).train.n_boxes > 0
    assert time.perf_counter() - start < 0.05
    code = "import sys, suite.data; print({'torch', 'cv2', 'pandas', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_real_coco_sample_passes(project: Path, tmp_path):
    root = project / "../shared/data/coco_tiny"
    if not root.is_dir():
        pytest.skip("the COCO sample is not on this machine")
    dataset = describe({"type": "coco", "root": str(root)}, tmp_path)
    assert (dataset.train.n_images, dataset.val.n_images) == (50, 50)
    assert (dataset.train.n_boxes, dataset.val.n_boxes) == (465, 377)  # 470 and 382 with 5 crowds each
    assert len(dataset.categories) == 80
    assert (dataset.categories[0], dataset.categories[-1]) == ("person", "toothbrush")
    assert dataset.notices == ()
