"""The pictures: what they show, what they say of themselves, and why they are missing."""

import dataclasses
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_cases import BOX, COLOUR, HEIGHT, OBJECT, WIDTH, MakeInput, MakeRow, bag, without, write_split
from PIL import Image

from suite.data.dataset import Dataset
from suite.errors import SuiteError
from suite.reporting.pictures.canvas import style
from suite.reporting.pictures.draw import DRAWERS, draw
from suite.reporting.pictures.kinds import ANALYTIC, KINDS, check
from suite.reporting.pictures.model import PictureInput, PictureRow, Pictures
from suite.reporting.pictures.photos import read_photo, show, view_around
from suite.runs.directory import RunDirectory

OF_RUNS = tuple(kind for kind in KINDS if kind not in ANALYTIC)
X, Y, W, H = OBJECT
SMALL = (17, 5, 8, 20)
LISTS = ("anchors", "predicted", "positive", "confidence", "iou", "losses")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two training and six validation images; three objects an image there."""
    root = tmp_path_factory.mktemp("photos")
    train, val = write_split(root, "train", 2, 1), write_split(root, "val", 6, 3)
    return Dataset("photos", "coco", root, train, val, ("plank", "disc"))


@pytest.fixture
def make_row(tmp_path: Path) -> MakeRow:
    """``make_row(label, change=..., detections=...)``: a row with a run of three snapshots."""

    def make(
        label: str,
        change: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        detections: list[tuple[Any, ...]] | None = None,
    ) -> PictureRow:
        path = tmp_path / "runs" / label
        path.mkdir(parents=True)
        lines = [
            {
                "step": step,
                "per_object": [step // 10, 4, 4],
                "bags": [change(bag(step))],
                "quality": {"score": 0.1 + step / 100, "iou": 0.5, "correlation": step / 40},
            }
            for step in (0, 10, 30)
        ]
        (path / "assignment.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        columns = ["image_id", "category_id", "score", "x", "y", "w", "h"]
        frame = pd.DataFrame(detections or [], columns=columns)
        frame = frame.astype({name: "float32" if at > 1 else "int64" for at, name in enumerate(columns)})
        frame.to_parquet(path / "detections.parquet")
        return PictureRow(label, RunDirectory(path), "")

    return make


@pytest.fixture
def make_input(dataset: Dataset) -> MakeInput:
    def make(*rows: PictureRow, **settings: Any) -> PictureInput:
        return PictureInput("A title", "what was run", list(rows), dataset, settings)

    return make


def is_whole(files: dict[str, bytes]) -> bool:
    """Whether each figure is there as a PNG that opens and an SVG."""
    names = {name.rsplit(".", 1)[0] for name in files}
    for name in names:
        Image.open(io.BytesIO(files[f"{name}.png"])).load()
        assert b"</svg>" in files[f"{name}.svg"][-20:]
    return len(files) == 2 * len(names) > 0


@pytest.mark.parametrize("kind", ANALYTIC)
def test_formulas_need_no_run_and_give_the_same_bytes(kind: str, make_input: MakeInput) -> None:
    one, two = draw(kind, make_input()), draw(kind, make_input())
    assert is_whole(one.files) and one.files == two.files
    assert not one.reason and one.notes and len(one.numbers) > 30


@pytest.mark.parametrize("kind", OF_RUNS)
def test_pictures_of_runs_give_the_same_bytes(kind: str, make_input: MakeInput, make_row: MakeRow) -> None:
    rows = [make_row(name, detections=[(1, 3, 0.9, X, Y, W, H)]) for name in ("one", "two")]
    found, again = (draw(kind, make_input(*rows)) for _ in range(2))
    assert is_whole(found.files) and found.files == again.files
    assert set(found.numbers["row"]) == {"one", "two"} and not found.reason


@pytest.mark.parametrize("kind", OF_RUNS)
def test_a_row_without_a_run_is_named_and_the_others_are_drawn(
    kind: str, make_input: MakeInput, make_row: MakeRow
) -> None:
    missing = PictureRow("absent", None, "not run")
    alone = draw(kind, make_input(missing))
    assert alone.reason == "absent: not run" and not alone.files and alone.numbers.empty
    both = draw(kind, make_input(missing, make_row("present")))
    assert both.files and "absent: not run" in both.notes and set(both.numbers.get("row", [])) <= {"present"}


OF_TELEMETRY = tuple(kind for kind in OF_RUNS if kind != "detections")


def is_told(found: Pictures, label: str, run: RunDirectory) -> bool:
    """Whether a reader learns which file of a row is damaged and what to do."""
    text = " ".join([found.reason, *found.notes])
    start = f"{label}: {run.assignment_file}"
    return start in text and f"Delete the folder {run.path} and run the experiment again" in text


@pytest.mark.parametrize("kind", ["bag_evolution", "assignment_evolution", "mixture"])
def test_a_run_of_older_telemetry_has_to_be_trained_again(
    kind: str, make_input: MakeInput, make_row: MakeRow
) -> None:
    new = ("transform", "predicted", "around", "losses", "mixture")
    row = make_row("old", lambda one: without(one, *new))
    found = draw(kind, make_input(row))
    assert is_told(found, "old", row.run) and not found.files
    assert re.search(r"step \d+, object 0: transform: Field required", found.reason)


def cut_in_the_middle(content: bytes) -> bytes:
    first, second, third = content.splitlines()
    return b"\n".join([first, second[: len(second) // 2], third, b""])


@pytest.mark.parametrize(
    "damage",
    [
        cut_in_the_middle,
        lambda content: b"\xff\xfe" + content[2:],
        lambda content: b"null\n" + content,
        lambda content: content.replace(b'"bags"', b'"bogs"'),
        lambda content: content.replace(b'"step": 10', b'"step": "x"'),
        lambda content: content.replace(b'"per_object": [', b'"per_object": [null, '),
        lambda content: b"",
    ],
)
@pytest.mark.parametrize("kind", OF_TELEMETRY)
def test_damaged_telemetry_costs_its_row_alone(
    kind: str, damage: Callable[[bytes], bytes], make_input: MakeInput, make_row: MakeRow
) -> None:
    broken, whole = make_row("broken"), make_row("whole")
    file = broken.run.assignment_file
    file.write_bytes(damage(file.read_bytes()))
    found = draw(kind, make_input(broken, whole))
    assert is_whole(found.files) and set(found.numbers["row"]) == {"whole"}
    assert is_told(found, "broken", broken.run)
    assert is_told(draw(kind, make_input(broken)), "broken", broken.run)


def change_around(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda one: {**one, "around": {**one["around"], **changes}}


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("bag_evolution", lambda one: {**one, "box": [0, 1, 2]}, "box: List should have at least 4 items"),
        ("bag_evolution", lambda one: {**one, "anchors": 5}, "anchors: Input should be a valid list"),
        ("bag_evolution", change_around(predicted=[[0, 0, 9, 9]]), "around: .* different lengths"),
        ("bag_evolution", change_around(class_score=[None] * 6), "around: .* no anchor has a class score"),
        ("assignment_evolution", lambda one: {**one, "transform": {}}, "transform.flip: Field required"),
        (
            "assignment_evolution",
            lambda one: {**one, "predicted": [[0, 0, None, 9]] * 4},
            r"predicted\.0\.2: Input should be a valid number",
        ),
        ("mixture", lambda one: {**one, "losses": [None] * 4}, r"losses\.0: Input should be a valid number"),
        (
            "mixture",
            lambda one: {**one, "mixture": {**one["mixture"], "variances": [0.1, 0]}},
            r"mixture\.variances\.1: Input should be greater than 0",
        ),
        ("mixture", lambda one: {**one, "mixture": {}}, r"mixture\.weights: Field required"),
    ],
)
def test_a_damaged_bag_is_told_with_its_field(
    kind: str, change: Callable, fault: str, make_input: MakeInput, make_row: MakeRow
) -> None:
    row = make_row("one", change)
    found = draw(kind, make_input(row, make_row("two")))
    assert is_told(found, "one", row.run) and set(found.numbers["row"]) == {"two"}
    assert any(re.search(rf"step \d+, object 0: {fault}", note) for note in found.notes)


def test_telemetry_of_images_without_objects(make_input: MakeInput, make_row: MakeRow) -> None:
    row = make_row("one")
    row.run.assignment_file.write_text('{"step": 0, "per_object": [], "bags": []}\n')
    assert draw("positives_over_time", make_input(row)).reason == (
        "one: the images that its telemetry looks at have no objects."
    )


def test_damaged_detections_cost_their_row_alone(make_input: MakeInput, make_row: MakeRow) -> None:
    broken, whole = make_row("broken"), make_row("whole", detections=[(1, 3, 0.9, X, Y, W, H)])
    file = broken.run.detections_file
    file.write_bytes(bytes(file.stat().st_size))
    found = draw("detections", make_input(broken, whole))
    assert is_whole(found.files) and set(found.numbers["row"]) == {"whole"}
    assert any(f"broken: {file}: cannot read (" in note and "Delete the file" in note for note in found.notes)


def test_a_method_without_what_is_drawn_says_so(make_input: MakeInput, make_row: MakeRow) -> None:
    found = draw("mixture", make_input(make_row("ltm", lambda one: without(one, "mixture"))))
    assert "ltm: its telemetry has no 'mixture'" in found.reason


def test_a_run_that_follows_another_object_is_left_out(make_input: MakeInput, make_row: MakeRow) -> None:
    rows = make_row("one"), make_row("two", lambda one: {**one, "box": [0, 0, 9, 9]})
    found = draw("bag_evolution", make_input(*rows))
    assert set(found.numbers["row"]) == {"one"}
    assert any(note.startswith("two: ") and "another object than one's" in note for note in found.notes)


def test_an_object_beyond_the_telemetry(make_input: MakeInput, make_row: MakeRow) -> None:
    found = draw("assignment_evolution", make_input(make_row("one"), object=3))
    assert "follows 1 objects, none numbered 3" in found.reason


def test_confidence_is_of_the_same_anchors_for_all_methods(make_input: MakeInput, make_row: MakeRow) -> None:
    found = draw("bag_evolution", make_input(make_row("one"), iterations=2, anchors=5, beta=0.5))
    last = found.numbers[found.numbers["step"] == 30]
    expected = [0.4 / (at + 1) * np.exp(-0.5 * 0.5 * at) for at in range(5)]
    assert last["confidence"].tolist() == pytest.approx(expected, rel=1e-3)
    assert last["matched"].tolist() == [True, True, False, False, False]
    assert last["anchor_iou"].iloc[0] == 1.0 and last["anchor_iou"].is_monotonic_decreasing
    assert sorted(set(found.numbers["step"])) == [0, 30]
    assert {name.split(".")[0] for name in found.files} == {"figure", "most_confident", "least_confident"}
    assert any("flipped as in training" in note and "plank" in note for note in found.notes)


def test_as_many_anchors_as_the_largest_bag_holds(make_input: MakeInput, make_row: MakeRow) -> None:
    def few(one: dict[str, Any]) -> dict[str, Any]:
        return {**one, **{name: value[:1] for name, value in one.items() if name in LISTS}}

    found = draw("bag_evolution", make_input(make_row("fixed", few), make_row("bag"), iterations=1))
    assert found.numbers.groupby("row").size().to_dict() == {"fixed": 4, "bag": 4}


@pytest.mark.parametrize("kind", ["bag_evolution", "assignment_evolution"])
def test_an_object_without_any_positive(kind: str, make_input: MakeInput, make_row: MakeRow) -> None:
    row = make_row("one", lambda one: {**one, **{name: [] for name in LISTS}})
    assert is_whole(draw(kind, make_input(row, iterations=1)).files)


@pytest.mark.parametrize("heat_map", ["predicted", "anchors"])
def test_heat_maps_add_panels(heat_map: str, make_input: MakeInput, make_row: MakeRow) -> None:
    row = make_row("one")
    plain = draw("bag_evolution", make_input(row, iterations=1)).files["figure.png"]
    mapped = draw("bag_evolution", make_input(row, iterations=1, heat_map=heat_map)).files["figure.png"]
    heights = [Image.open(io.BytesIO(content)).height for content in (plain, mapped)]
    assert heights[1] > 1.4 * heights[0]


def test_positives_of_all_objects(make_input: MakeInput, make_row: MakeRow) -> None:
    found = draw("positives_over_time", make_input(make_row("one"), highest=3))
    assert found.numbers["positives"].tolist() == [0, 4, 4, 1, 4, 4, 3, 4, 4]
    assert any("6 values above 3" in note for note in found.notes)


def test_quality_over_the_training(make_input: MakeInput, make_row: MakeRow) -> None:
    row = make_row("one")
    found = draw("quality_over_time", make_input(row))
    assert found.numbers["step"].tolist() == [0, 10, 30]
    assert found.numbers["score"].tolist() == pytest.approx([0.1, 0.2, 0.4])
    assert row.run is not None
    lines = [json.loads(line) for line in row.run.assignment_file.read_text().splitlines()]
    for line in lines:
        line["quality"] = None  # as of a moment without positives
    row.run.assignment_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "no quality of positives" in draw("quality_over_time", make_input(row)).reason


def test_detections_are_right_or_wrong(make_input: MakeInput, make_row: MakeRow) -> None:
    few = make_row("few", detections=[(4, 3, 0.95, X, Y, W, H), (1, 3, 0.8, X, Y, W, H)])
    many = make_row(
        "many",
        detections=[
            (4, 3, 0.9, X, Y, W, H), (4, 3, 0.85, *SMALL),
            (4, 3, 0.8, X + 1, Y, W, H),  # a second one of the same object
            (4, 7, 0.8, X, Y, W, H),  # of another category
            (1, 3, 0.8, X, Y, W, H), (1, 3, 0.69, *SMALL),  # below the threshold
        ],
    )  # fmt: skip
    found = draw("detections", make_input(few, many, images=1))
    assert set(found.numbers["image_id"]) == {4}, "there the numbers of right detections differ"
    own = found.numbers[found.numbers["row"] == "many"].sort_values(["score", "category"])
    assert own["true"].tolist()[-2:] == [True, True] and own["true"].sum() == 2 and len(own) == 4
    assert any("few 2 right, 0 wrong; many 3 right, 2 wrong" in note for note in found.notes)
    assert draw("detections", make_input(few, many, score_threshold=1.0)).numbers.empty


def test_images_of_too_many_objects_are_not_shown(make_input: MakeInput, make_row: MakeRow) -> None:
    found = draw("detections", make_input(make_row("one"), most_objects=2))
    assert "No image has 1 to 2 objects" in found.reason and not found.files


def test_a_dataset_without_its_images_leaves_a_reason(
    make_input: MakeInput, make_row: MakeRow, dataset: Dataset
) -> None:
    split = dataclasses.replace(dataset.train, images=dataset.root / "gone")
    asked = dataclasses.replace(
        make_input(make_row("one")), dataset=dataclasses.replace(dataset, train=split, val=split)
    )
    for kind in ("bag_evolution", "detections"):
        assert "cannot read the image" in draw(kind, asked).reason


def test_photos_lie_under_their_boxes(dataset: Dataset) -> None:
    """The object of the file, flipped and scaled as in training, is where the bag's box says."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(4, 4))
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        size = (WIDTH // 2, HEIGHT // 2)
        show(axes, read_photo(dataset.train, 2, bag(0)["transform"]), size, (0, 0, *size), pale=False)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)

    def at(x: float, y: float) -> Any:
        column, row = axes.transData.transform((x, y))
        return pixels[len(pixels) - 1 - int(row), int(column)]

    inside = [(BOX[0] + 1, BOX[1] + 1), (BOX[2] - 1, BOX[3] - 1)]
    outside = [(BOX[0] - 1, BOX[1] + 1), (BOX[2] + 1, BOX[3] - 1), (WIDTH / 2 - 5, 10)]
    assert all(np.abs(at(*point) - COLOUR).max() < 40 for point in inside)
    assert all(np.abs(at(*point) - 120).max() < 40 for point in outside)


sides = st.floats(1, 60)


@given(st.floats(0, 35), st.floats(0, 30), sides, sides)
def test_a_view_holds_its_box_and_little_beyond_the_image(x: float, y: float, w: float, h: float) -> None:
    size = np.array([96, 64])
    box = np.array([[x, y, min(x + w, 96), min(y + h, 64)]])
    view = np.array(view_around(box, size))
    assert (view[:2] <= box[0, :2] + 1e-9).all() and (view[2:] >= box[0, 2:] - 1e-9).all()
    assert (view[:2] >= -0.05 * 96 - 1e-9).all() and (view[2:] <= size + 0.05 * 96 + 1e-9).all()


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            "surface",
            {},
            r"picture.kind: found 'surface', expected one of saturated_linear, .* 'mean_max_surface'",
        ),
        (
            "detections",
            {"threshold": 0.5},
            "threshold: unknown for kind 'detections', expected one of score_thr",
        ),
        ("mean_max_surface", {"t1": 0.5}, "expected none: this kind has no settings"),
        (
            "detections",
            {"images": 0},
            "images: expected a whole number of at least 1 and at most 12, found 0",
        ),
        ("bag_evolution", {"heat_map": "all"}, "expected one of none, predicted, anchors, found 'all'"),
        (
            "bag_evolution",
            {"object": 4},
            "object: expected a whole number of at least 0 and at most 3, found 4",
        ),
        ("matching_functions", {"negative_matching": "none"}, "expected one of eq25, "),
    ],
)
def test_mistakes_in_a_file_are_named(kind: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        check(kind, settings)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_right_without_settings(kind: str) -> None:
    check(kind, {})


def test_every_kind_is_drawn() -> None:
    assert DRAWERS.keys() == KINDS.keys() >= set(ANALYTIC)


def test_pictures_do_without_torch() -> None:
    program = (
        "import sys, suite.reporting.pictures; print({'torch', 'mmdet', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
