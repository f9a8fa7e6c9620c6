"""FreeAnchor's Fig. 4 and LTM's Fig. 6: the confidence of the anchors around one object over a training."""

from typing import Any

import numpy as np
import numpy.typing as npt

from suite.reporting.pictures.canvas import BLUE, files, outline, sheet
from suite.reporting.pictures.model import PictureInput, Pictures
from suite.reporting.pictures.photos import read_photo, show, view_around
from suite.reporting.pictures.surroundings import Bag, bag_of, extreme, numbers_of
from suite.reporting.pictures.telemetry import Snapshot, described, watched

Array = npt.NDArray[Any]
_COLOURS = "YlOrRd"
_PLACES = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))


def draw(given: PictureInput) -> Pictures:
    """One line of panels per method, one panel per iteration; the final extremes have their own pictures."""
    settings = given.settings
    rows, problems = watched(given.rows, settings["object"], settings["iterations"], "around")
    if not rows:
        return Pictures(reason=" ".join(problems))
    # Of methods with bags the largest one; others match few anchors.
    largest = max(len(row.snapshots[-1].bag["anchors"]) for row in rows)
    shown = settings["anchors"] or min(max(largest, 2), 50)
    bags = [
        (row.label, [bag_of(snapshot, shown, settings["beta"]) for snapshot in row.snapshots]) for row in rows
    ]
    last = rows[0].snapshots[-1]
    photo = read_photo(given.dataset.train, last.bag["image_id"], last.bag["transform"])
    drawn = files(_evolution(given, bags, last, photo))
    for name, place in (("most_confident", -1), ("least_confident", 0)):
        drawn |= files(extreme(given, bags, last, photo, place), name)
    count = len(bags[0][1][-1].anchors)
    notes = [
        described(last),
        f"Shown are the {count} anchors of highest IoU with it, the same for all methods. Anchors that share "
        "a centre stand around it, the most confident in the middle.",
        f"Confidence is P_cls x P_loc with P_loc = exp(-{settings['beta']:g} x smooth L1 loss of the "
        "predicted box), computed in one way for all methods. Its colours reach from 0 to the highest value "
        "shown.",
        "Rings mark the anchors that the method matches to the object. In a bag these are the ones with at "
        "least half of its highest confidence.",
        *problems,
    ]
    if settings["heat_map"] != "none":
        boxes = {"predicted": "predicted boxes", "anchors": "anchors"}[settings["heat_map"]]
        notes.append(
            f"Heat maps: confidence summed over the {boxes} that cover a place, as a share of the highest "
            "sum of the panel."
        )
    return Pictures(drawn, numbers_of(bags, last.box), notes)


def _evolution(given: PictureInput, bags: list[tuple[str, list[Bag]]], last: Snapshot, photo: Array) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm

    heat = given.settings["heat_map"]
    every = [bag for _, own in bags for bag in own]
    drawn = [bag.predicted[[int(np.nanargmax(bag.confidence))]] for bag in every]
    view = view_around(np.concatenate([*drawn, _centres(every[0].anchors), last.box[None]]), last.size)
    columns, lines = max(len(own) for _, own in bags), len(bags) * (1 if heat == "none" else 2)
    panel_width = 7.9 / max(columns, 2)
    height = 1.3 + lines * (panel_width * (view[3] - view[1]) / (view[2] - view[0]) + 0.42)
    figure = sheet(given, min(height, 16))
    axes = figure.subplots(lines, columns, squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    # Confidences start far below their final values; equal steps would leave the beginning blank.
    norm = PowerNorm(0.5, 0, max(float(np.nanmax(bag.confidence)) for bag in every))
    line = 0
    for label, own in bags:
        for panel, bag in zip(axes[line], own, strict=False):
            show(panel, photo, last.size, view)
            _confidences(panel, bag, last.box, norm, 72 * panel_width / (view[2] - view[0]))
            panel.set_title(_when(bag), fontsize=9)
        axes[line][0].set_ylabel(label, fontsize=10)
        line += 1
        if heat != "none":
            for panel, bag in zip(axes[line], own, strict=False):
                show(panel, photo, last.size, view)
                _heat(panel, bag, heat, last)
            axes[line][0].set_ylabel(f"{label}\nheat map", fontsize=10)
            line += 1
    bar = figure.colorbar(ScalarMappable(norm, _COLOURS), ax=axes, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("confidence")
    figure.legend(handles=_marks(), loc="outside lower left", ncols=4, fontsize=9)
    return figure


def _when(bag: Bag) -> str:
    start = "before training" if bag.step == 0 else f"iteration {bag.step:,}"
    return f"{start}\nhighest {np.nanmax(bag.confidence):.2g}, matched {bag.positive.sum()}"


def _marks() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color="black", lw=1.6, label="the object"),
        Line2D([], [], marker="o", ls="", color="#fd8d3c", mec="#666666", mew=0.5, ms=7, label="anchor"),
        Line2D([], [], marker="o", ls="", mfc="none", mec=BLUE, mew=1.8, ms=10, label="matched"),
        Line2D([], [], color=BLUE, lw=1.4, ls="--", label="predicted by the most confident"),
    ]


def _centres(anchors: Array) -> Array:
    """Centres of anchors (K, 4) as boxes without extent, shape (K, 4)."""
    return np.tile((anchors[:, :2] + anchors[:, 2:]) / 2, 2)


def _side_by_side(bag: Bag) -> tuple[Array, float]:
    """Where to draw each anchor, shape (K, 2), and the distance of two that share a centre, in pixels."""
    centres = _centres(bag.anchors)[:, :2]
    distances = np.abs(centres[:, None] - centres[None]).max(axis=-1)
    distance = float(distances[distances > 0.2].min(initial=16.0)) / 3.2
    # Ranks among those that share a centre: 0 for the most confident.
    rank = ((distances <= 0.2) & (_order(bag)[None] < _order(bag)[:, None])).sum(axis=1)
    return centres + distance * np.array(_PLACES)[rank % len(_PLACES)], distance


def _order(bag: Bag) -> Array:
    """Place of each anchor by falling confidence, shape (K,)."""
    return np.argsort(np.argsort(-np.nan_to_num(bag.confidence), kind="stable"), kind="stable")


def _confidences(panel: Any, bag: Bag, box: Array, norm: Any, points: float) -> None:
    """Anchors coloured by confidence, and the best one's predicted box; ``points`` is the size of a pixel."""
    outline(panel, box, color="black", lw=1.6, halo="white")
    best = int(np.nanargmax(bag.confidence))
    outline(panel, bag.predicted[best], color=BLUE, lw=1.4, ls="--")
    places, distance = _side_by_side(bag)
    rising = np.argsort(np.nan_to_num(bag.confidence), kind="stable")
    places, confidence, matched = places[rising], bag.confidence[rising], bag.positive[rising]
    size = min(0.95 * distance * points, 11) ** 2 * (0.35 + 0.65 * norm(confidence))
    panel.scatter(*places.T, s=size, c=confidence, cmap=_COLOURS, norm=norm, ec="#555555", lw=0.5)
    panel.scatter(*places[matched].T, s=size[matched] + 14, fc="none", ec=BLUE, lw=1.5)


def _heat(panel: Any, bag: Bag, what: str, last: Snapshot) -> None:
    """Confidence summed over the boxes that cover a place, as a share of the highest sum."""
    width, height = last.size
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    boxes = bag.predicted if what == "predicted" else bag.anchors
    across = (x >= boxes[:, :1]) & (x <= boxes[:, 2:3])
    down = (y >= boxes[:, 1:2]) & (y <= boxes[:, 3:])
    total = np.einsum("k,kh,kw->hw", np.nan_to_num(bag.confidence), down, across)
    limits = panel.get_xlim(), panel.get_ylim()
    share = np.round(total / max(total.max(), 1e-12), 2)
    panel.imshow(
        share, extent=(0, width, height, 0), cmap=_COLOURS, alpha=0.6 * (share > 0.02), vmin=0, vmax=1
    )
    panel.set_xlim(limits[0])
    panel.set_ylim(limits[1])
    outline(panel, last.box, color="black", lw=1.6, halo="white")
