"""LTM's Fig. 9: what two detectors find in the same images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.errors import SuiteError
from suite.evaluation.ground_truth import GroundTruth
from suite.evaluation.matches import match
from suite.evaluation.measurements import read_detections
from suite.reporting.pictures.canvas import BLUE, RED, files, lay_out, outline, sheet
from suite.reporting.pictures.model import PictureInput, Pictures
from suite.reporting.pictures.photos import read_photo, show
from suite.reporting.reasons import in_one_line

Array = npt.NDArray[Any]
_WIDTH = 3.7  # largest width of a panel in inches


@dataclass(frozen=True)
class _Found:
    """A row's detections above the threshold, by image and falling score; ``true`` are the right ones."""

    label: str
    detections: pd.DataFrame


def draw(given: PictureInput) -> Pictures:
    """One line per image, one panel per method: objects dashed, detections with category and score."""
    threshold = given.settings["score_threshold"]
    truth = GroundTruth.load(given.dataset.val.annotations)
    found, problems = [], []
    for row in given.rows:
        if row.run is None:
            problems.append(f"{row.label}: {row.why}")
            continue
        try:
            found.append(_matched(row.label, read_detections(row.run, truth), truth, threshold))
        except SuiteError as error:
            problems.append(f"{row.label}: {in_one_line(error)}")
    if not found:
        return Pictures(reason=" ".join(problems))
    most = given.settings["most_objects"]
    images = _choose(truth, found, given.settings["images"], most)
    if not images:
        return Pictures(reason=f"No image has 1 to {most} objects; set most_objects higher.")
    totals = "; ".join(
        f"{one.label} {int(one.detections['true'].sum())} right, {int((~one.detections['true']).sum())} wrong"
        for one in found
    )
    objects = int((~truth.annotations["iscrowd"]).sum())
    notes = [
        f"Detections with a score of at least {threshold:g}. Right (solid): IoU of at least 0.5 with an "
        "object of the category that no detection of higher score has. Wrong (dash-dotted, with a cross): "
        "any other. Dashed white: the objects. A label that would cover others is left out.",
        f"The images are those of at most {most} objects in which the numbers of right detections of "
        + (
            f"{found[0].label} and {found[-1].label} differ most"
            if len(found) > 1
            else f"{found[0].label} are highest"
        )
        + "; of equal ones those with more objects, then with the lower id.",
        "Scores of different methods need not mean the same: one with fewer detections at a threshold may "
        "rank its detections better. AP compares them at all thresholds.",
        f"In all {len(truth.images)} images with {objects} objects: {totals}.",
        *problems,
    ]
    return Pictures(files(_figure(given, truth, found, images)), _numbers(truth, found, images), notes)


def _matched(label: str, frame: pd.DataFrame, truth: GroundTruth, threshold: float) -> _Found:
    frame = frame[frame["score"] >= threshold].reset_index(drop=True)
    frame = frame.sort_values(
        ["category_id", "image_id", "score"], ascending=[True, True, False], kind="stable"
    )
    result = match(truth, frame)
    # Matches come by category and score; image, category and rank tell which detection each is.
    keys = ["image_id", "category_id", "rank"]
    matches = pd.DataFrame(
        {
            "image_id": result.image_ids[result.image],
            "category_id": result.category_ids[result.category],
            "rank": result.rank.astype(np.int64),
            "true": (result.area("all").true & 1).astype(bool),
        }
    )
    frame["rank"] = frame.groupby(["image_id", "category_id"]).cumcount()
    joined = frame.merge(matches, on=keys, how="inner").drop(columns="rank")
    return _Found(label, joined.sort_values(["image_id", "score"], ascending=[True, False], kind="stable"))


def _choose(truth: GroundTruth, found: list[_Found], count: int, most: int) -> list[int]:
    """The images of at most ``most`` objects in which first and last row differ most in right detections."""
    ids = pd.Index(truth.images["id"].to_numpy())
    right = [
        one.detections[one.detections["true"]].groupby("image_id").size().reindex(ids, fill_value=0)
        for one in found
    ]
    difference = (right[-1] - right[0]).abs() if len(found) > 1 else right[0]
    annotations = truth.annotations[~truth.annotations["iscrowd"]]
    objects = annotations.groupby("image_id").size().reindex(ids, fill_value=0)
    order = pd.DataFrame({"difference": difference, "objects": objects, "id": ids})
    # With more objects the boxes cannot be told apart.
    order = order[order["objects"].between(1, most)]
    order = order.sort_values(["difference", "objects", "id"], ascending=[False, False, True], kind="stable")
    return [int(image) for image in order["id"].head(count)]


def _figure(given: PictureInput, truth: GroundTruth, found: list[_Found], images: list[int]) -> Any:
    known = truth.images
    sizes = dict(zip(known["id"], zip(known["width"], known["height"], strict=True), strict=True))
    columns = len(found)
    width = min(_WIDTH if columns > 1 else 5.0, 9.0 / columns)
    heights = [min(sizes[image][1] / sizes[image][0], 1.5) * width + 0.45 for image in images]
    figure = sheet(given, 1.0 + sum(heights), max(6.0, columns * width + 0.6))
    axes = figure.subplots(len(images), columns, squeeze=False, height_ratios=heights)
    for line, image in zip(axes, images, strict=True):
        size = sizes[image]
        photo = read_photo(given.dataset.val, image)
        objects_here = len(_objects(truth, image))
        for panel, one in zip(line, found, strict=True):
            show(panel, photo, size, (0, 0, *size), pale=False)
            own = one.detections[one.detections["image_id"] == image]
            right = int(own["true"].sum())
            counts = f"{right} right, {len(own) - right} wrong, {objects_here - right} missed"
            panel.set_title(f"{one.label}: {counts}", fontsize=9)
        line[0].set_ylabel(f"image {image}", fontsize=9)
    lay_out(figure)  # labels are placed by the final size of the panels
    for line, image in zip(axes, images, strict=True):
        objects = _objects(truth, image)
        for panel, one in zip(line, found, strict=True):
            _panel(panel, one, image, objects, truth)
    return figure


def _objects(truth: GroundTruth, image: int) -> pd.DataFrame:
    own = truth.annotations
    return own[(own["image_id"] == image) & ~own["iscrowd"]]


def _panel(panel: Any, one: _Found, image: int, objects: pd.DataFrame, truth: GroundTruth) -> None:
    names = dict(zip(truth.categories["id"], truth.categories["name"], strict=True))
    own = one.detections[one.detections["image_id"] == image]
    row: Any
    for row in objects.itertuples():
        outline(panel, _box(row), color="white", lw=1, ls=(0, (4, 3)), halo="black")
    taken: list[tuple[float, ...]] = []
    for row in own.itertuples():
        colour, line = (BLUE, "-") if row.true else (RED, "-.")
        outline(panel, _box(row), color=colour, lw=1.7, ls=line, halo="white")
    for row in own.itertuples():
        text = f"{'' if row.true else '× '}{names[row.category_id]} {row.score:.2f}"
        _label(panel, row, text, BLUE if row.true else RED, taken)


def _box(row: Any) -> tuple[float, float, float, float]:
    return row.x, row.y, row.x + row.w, row.y + row.h


def _label(panel: Any, row: Any, text: str, colour: str, taken: list[tuple[float, ...]]) -> None:
    """Write a label at the first corner of a box where it covers no other one; else leave it out."""
    renderer = panel.figure.canvas.get_renderer()
    frame = panel.get_window_extent(renderer)
    x1, y1, x2, y2 = _box(row)
    places = [
        (x1, y1, "left", "bottom"), (x1, y1, "left", "top"), (x2, y2, "right", "top"),
        (x2, y2, "right", "bottom"), (x1, y2, "left", "top"), (x2, y1, "right", "bottom"),
    ]  # fmt: skip
    for x, y, across, down in places:
        label = panel.text(x, y, text, ha=across, va=down, fontsize=7, color="white", in_layout=False,
                           bbox={"fc": colour, "ec": "none", "pad": 0.8})  # fmt: skip
        box = label.get_window_extent(renderer)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not any(
            box.x0 < right and left < box.x1 and box.y0 < top and bottom < box.y1
            for left, bottom, right, top in taken
        ):
            taken.append((box.x0, box.y0, box.x1, box.y1))
            return
        label.remove()


def _numbers(truth: GroundTruth, found: list[_Found], images: list[int]) -> pd.DataFrame:
    names = dict(zip(truth.categories["id"], truth.categories["name"], strict=True))
    parts = []
    for one in found:
        own = one.detections[one.detections["image_id"].isin(images)].copy()
        own.insert(0, "row", one.label)
        own.insert(2, "category", own["category_id"].map(names))
        parts.append(own.drop(columns="category_id").round({"score": 4, "x": 1, "y": 1, "w": 1, "h": 1}))
    return pd.concat(parts, ignore_index=True)
