"""A COCO root's training images drawn as COCO minitrain."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.data import coco
from suite.data.dataset import describe
from suite.data.minitrain import draw, minitrain
from suite.errors import SuiteError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """200 training images, 190 of them with boxes of three categories and all sizes; 3 to validate on."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "coco"
    for split, count in (("train2017", 200), ("val2017", 3)):
        (folder / split).mkdir(parents=True)
        images = [
            {"id": 10 * image, "file_name": f"{10 * image:012}.jpg", "width": 640, "height": 480}
            for image in range(1, count + 1)
        ]
        rows = []
        for image in images[: count - 10 if split == "train2017" else count]:
            for _ in range(rng.integers(1, 9)):
                side = float(rng.choice([10, 50, 200]))
                rows.append(
                    {"id": len(rows) + 1, "image_id": image["id"], "category_id": int(rng.choice([1, 3, 7])),
                     "bbox": [1, 1, side, side], "area": side * side, "iscrowd": 0}
                )  # fmt: skip
            (folder / split / image["file_name"]).write_bytes(b"photo")
        for image in images:
            (folder / split / image["file_name"]).write_bytes(b"photo")
        path = coco.annotation_file(folder, split)
        path.parent.mkdir(exist_ok=True)
        categories = [{"id": number, "name": name} for number, name in ((1, "cat"), (3, "dog"), (7, "emu"))]
        path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return folder


def ids_of(root: Path) -> list[int]:
    content = json.loads(coco.annotation_file(root, "train2017").read_text())
    assert {row["image_id"] for row in content["annotations"]} <= {image["id"] for image in content["images"]}
    return [image["id"] for image in content["images"]]


def test_it_is_a_coco_root_drawn_by_the_seed(root: Path, tmp_path: Path) -> None:
    made = minitrain(root, images=50, draws=20)
    assert made.root == tmp_path / "coco-minitrain"
    train, val = coco.check_root(made.root)
    assert (train.images, val.images) == (50, 3) and made.images == 50
    assert (made.root / "train2017" / f"{ids_of(made.root)[0]:012}.jpg").read_bytes() == b"photo"
    again = minitrain(root, tmp_path / "again", images=50, draws=20)
    other = minitrain(root, tmp_path / "other", images=50, draws=20, seed=1)
    assert ids_of(again.root) == ids_of(made.root) != ids_of(other.root)
    assert max(ids_of(made.root)) <= 1900  # images without boxes are not drawn


def test_the_seed_is_in_the_fingerprint(root: Path, tmp_path: Path) -> None:
    prints = set()
    for seed in (0, 1):
        made = minitrain(root, tmp_path / f"m{seed}", images=190, draws=1, seed=seed)  # all images, twice
        assert len(ids_of(made.root)) == 190
        prints.add(describe({"type": "coco", "root": str(made.root)}, tmp_path / "data").train.fingerprint)
    assert len(prints) == 2


def test_more_draws_meet_the_groups_more_evenly() -> None:
    rng = np.random.default_rng(1)
    boxes = pd.DataFrame(
        {
            "image_id": rng.integers(0, 300, 2000),
            "category_id": rng.integers(0, 4, 2000),
            "bbox": [[0, 0, side, side] for side in rng.choice([10, 50, 200], 2000)],
        }
    )
    candidates = np.unique(boxes["image_id"])
    side = boxes["bbox"].str[2].astype(str)
    group = boxes["category_id"].astype(str) + "/" + side

    def spread(draws: int) -> float:
        chosen = draw(boxes, candidates, 100, 0, draws)
        assert len(np.unique(chosen)) == 100 and np.isin(chosen, candidates).all()
        share = group[boxes["image_id"].isin(chosen)].value_counts() / group.value_counts()
        return float(share.max() - share.min())

    assert spread(200) < 0.8 * spread(1)


def test_the_statistics_are_those_of_the_files(root: Path) -> None:
    made = minitrain(root, images=60, draws=5)
    found = {one.name: one for one in made.statistics}
    assert set(found) == {"category", "size", "category and size", "objects per image"}
    assert (found["category"].groups, found["size"].groups) == (3, 3)

    def share(folder: Path, category: int) -> float:
        rows = json.loads(coco.annotation_file(folder, "train2017").read_text())["annotations"]
        return 100 * sum(row["category_id"] == category for row in rows) / len(rows)

    differences = {
        name: abs(share(made.root, number) - share(root, number))
        for number, name in ((1, "cat"), (3, "dog"), (7, "emu"))
    }
    worst = max(differences, key=lambda name: differences[name])
    assert found["category"].at == worst
    assert found["category"].largest_difference == pytest.approx(differences[worst])


@pytest.mark.parametrize(
    "text",
    ["[10, 20, 70]", '{"images": [{"id": 10}, {"id": 20}, {"id": 70}]}', "10\n20\n70\n",
     "000000000010.jpg,1,2,3,4,cat,0\n000000000020.jpg,1,2,3,4,cat,0\n000000000070.jpg,5,5,9,9,dog,0\n"],
)  # fmt: skip
def test_a_list_of_ids_in_place_of_a_draw(root: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "ids").write_text(text)
    made = minitrain(root, ids=tmp_path / "ids")
    assert ids_of(made.root) == [10, 20, 70]


def test_refusals(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="190 images with boxes, fewer than the 25,000 asked for"):
        minitrain(root)
    (tmp_path / "ids").write_text("10\n5\n")
    with pytest.raises(SuiteError, match=r"1 of its 2 image ids are not in .*: 5"):
        minitrain(root, ids=tmp_path / "ids")
    (tmp_path / "ids").write_text("cat\n")
    with pytest.raises(SuiteError, match="expected image ids"):
        minitrain(root, ids=tmp_path / "ids")
    (tmp_path / "coco-minitrain").mkdir()
    with pytest.raises(SuiteError, match="is there already"):
        minitrain(root, images=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coco", "coco-minitrain", "ids"]


def test_the_command_says_how_closely_it_meets_the_whole(root: Path, tmp_path: Path) -> None:
    out = CliRunner().invoke(app, ["minitrain", "--coco-root", str(root), "--images", "100"])
    assert out.exit_code == 0, out.output
    assert "100 training images" in out.output and "objects per image (" in out.output
    assert f"COCO_ROOT={tmp_path / 'coco-minitrain'}" in out.output
