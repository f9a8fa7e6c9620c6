"""The default shapes dataset has something in every slice, and the table says how much."""

import io
import json
import re

import pytest
from rich.console import Console

from suite.data import describe, histogram
from suite.data.categories import CATEGORIES


def rendered(dataset) -> dict[str, list[str]]:
    output = io.StringIO()
    Console(width=100, file=output).print(histogram(dataset))
    lines = [re.split(r"\s*[│┃]\s*", line) for line in output.getvalue().splitlines()]
    return {cells[1]: cells[2:-1] for cells in lines if len(cells) > 3}


@pytest.fixture(scope="module")
def table(drawn):
    _, root = drawn
    return rendered(describe({"type": "shapes"}, root.parent))


@pytest.mark.parametrize(
    ("row", "fewest_train", "fewest_val"),
    [
        ("0-10", 150, 80),
        ("11-20", 40, 15),
        ("21-30", 8, 4),
        ("31+", 6, 2),
        ("sparse [0, .2)", 100, 50),
        ("medium [.2, .5)", 80, 40),
        ("dense [.5, 1]", 30, 15),
        ("small < 32²", 1000, 500),
        ("medium", 1000, 500),
        ("large >= 96²", 50, 25),
        ("images without objects", 2, 1),
        ("crowd regions", 2, 1),
    ],
)
def test_every_slice_is_populated(table, row, fewest_train, fewest_val):
    train, val = map(int, table[row])
    assert train >= fewest_train and val >= fewest_val


def test_categories_reach_from_square_to_slender(table):
    for column in (0, 1):
        ratios = {name: float(table[name][column].split()[0]) for name in CATEGORIES}
        counts = [int(table[name][column].strip(")").split("(")[1]) for name in CATEGORIES]
        assert ratios["square"] < 1.2 and 3.3 < ratios["plank"] < 4.7 and 6.5 < ratios["rod"] < 9
        assert sum(1.3 < ratio < 3 for ratio in ratios.values()) >= 2
        assert min(counts) >= 20  # in a long tail


def test_rows_add_up(table, drawn):
    _, root = drawn
    for column, split in enumerate(("train2017", "val2017")):
        content = json.loads((root / "annotations" / f"instances_{split}.json").read_text())
        objects = sum(not row["iscrowd"] for row in content["annotations"])
        assert int(table["objects"][column]) == objects
        assert sum(int(table[row][column]) for row in ("small < 32²", "medium", "large >= 96²")) == objects
        images = sum(int(table[row][column]) for row in ("0-10", "11-20", "21-30", "31+"))
        assert images == int(table["images"][column]) == len(content["images"])


def test_a_category_without_objects_in_a_split(coco_root, tmp_path):
    coco_root.spoil("val2017", lambda content: content["annotations"].pop(0))
    table = rendered(describe({"type": "coco", "root": str(coco_root.path)}, tmp_path))
    assert table["person"] == ["2.00 (1)", "-"]
    assert table["crowd regions"] == ["1", "1"]
