"""The anchors around one object at one moment: what is known of them, and the extreme ones drawn large."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.reporting.pictures.canvas import BLUE, ORANGE, outline, sheet
from suite.reporting.pictures.model import PictureInput
from suite.reporting.pictures.photos import show, view_around
from suite.reporting.pictures.telemetry import Snapshot, iou

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Bag:
    """The anchors around an object at one moment, by falling IoU with it.

    Attributes:
        step: Steps done.
        anchors: Shape (K, 4), xyxy in pixels of the network's input.
        predicted: Their decoded boxes, shape (K, 4).
        confidence: P_cls x P_loc, shape (K,).
        class_score: P_cls, shape (K,).
        positive: Which of them the method matches to the object, shape (K,).
    """

    step: int
    anchors: Array
    predicted: Array
    confidence: Array
    class_score: Array
    positive: Array


def bag_of(snapshot: Snapshot, count: int, beta: float) -> Bag:
    """The ``count`` anchors of highest IoU of a snapshot; P_loc = exp(-beta x localisation loss)."""
    anchors = snapshot.boxes("anchors", "around")[:count]
    members = snapshot.boxes("anchors")[snapshot.array("positive") > 0]
    positive = (np.abs(anchors[:, None] - members[None]) < 0.05).all(axis=-1).any(axis=1)
    class_score = snapshot.array("class_score", "around")[:count]
    localisation = np.exp(-beta * snapshot.array("localisation_loss", "around")[:count])
    predicted = snapshot.boxes("predicted", "around")[:count]
    return Bag(snapshot.step, anchors, predicted, class_score * localisation, class_score, positive)


def extreme(
    given: PictureInput, bags: list[tuple[str, list[Bag]]], last: Snapshot, photo: Array, place: int
) -> Any:
    """The final most (-1) or least (0) confident anchor: its extent, and the box that it predicts."""
    picked = [(label, own[-1], int(np.argsort(np.nan_to_num(own[-1].confidence), kind="stable")[place]))
              for label, own in bags]  # fmt: skip
    boxes = [part[at] for _, bag, at in picked for part in (bag.anchors, bag.predicted)]
    view = view_around(np.array([*boxes, last.box]), last.size)
    ratio = (view[3] - view[1]) / (view[2] - view[0])
    width = 9.0 / max(len(picked), 2)
    most = "Most" if place else "Least"
    count = len(picked[0][1].anchors)
    title = f"{most} confident of the {count} anchors at the end of the training"
    figure = sheet(given, min(1.9 + width * ratio, 9), title=title)
    panels = figure.subplots(1, len(picked), squeeze=False)[0]
    for panel, (label, bag, at) in zip(panels, picked, strict=True):
        show(panel, photo, last.size, view)
        outline(panel, last.box, color="black", lw=1.8, halo="white", label="the object")
        outline(panel, bag.anchors[at], color=ORANGE, lw=2.2, label="anchor")
        outline(panel, bag.predicted[at], color=BLUE, lw=2, ls="--", label="predicted box")
        overlaps = iou(np.array([bag.anchors[at], bag.predicted[at]]), last.box)
        panel.set_title(
            f"{label}: confidence {bag.confidence[at]:.2g}\n"
            f"IoU of the anchor {overlaps[0]:.2f}, of its predicted box {overlaps[1]:.2f}",
            fontsize=9,
        )
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=3, fontsize=9)
    return figure


def numbers_of(bags: list[tuple[str, list[Bag]]], box: Array) -> pd.DataFrame:
    """One line per anchor of each bag, by row and step; ``box`` is the object."""
    parts = []
    for label, own in bags:
        for bag in own:
            sides = {f"anchor_{side}": bag.anchors[:, at] for at, side in enumerate(("x1", "y1", "x2", "y2"))}
            values = {
                "row": label, "step": bag.step, "anchor": np.arange(len(bag.anchors)), **sides,
                "class_score": bag.class_score, "confidence": [float(f"{c:.4g}") for c in bag.confidence],
                "matched": bag.positive, "anchor_iou": np.round(iou(bag.anchors, box), 4),
                "predicted_iou": np.round(iou(bag.predicted, box), 4),
            }  # fmt: skip
            parts.append(pd.DataFrame(values))
    return pd.concat(parts, ignore_index=True)
