"""PAA's Fig. 4(a): the positive anchors of one object, and what they predict, over a training."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.reporting.pictures.canvas import BLUE, ORANGE, files, outline, sheet
from suite.reporting.pictures.model import PictureInput, Pictures
from suite.reporting.pictures.photos import read_photo, show, view_around
from suite.reporting.pictures.telemetry import (
    Snapshot,
    TrackedObject,
    described,
    iou,
    watched,
)

Array = npt.NDArray[Any]


def draw(given: PictureInput) -> Pictures:
    """Two lines of panels per method: positive anchors above, their predicted boxes below."""
    rows, problems = watched(given.rows, given.settings["object"], given.settings["iterations"], "predicted")
    if not rows:
        return Pictures(reason=" ".join(problems))
    last = rows[0].snapshots[-1]
    photo = read_photo(given.dataset.train, last.bag["image_id"], last.bag["transform"])
    notes = [
        described(last),
        "Above: the anchors that are positive for it, and the centres of its other candidates. Below: the "
        "boxes that the positive anchors predict. Parts of boxes far from the object are not shown.",
        *problems,
    ]
    return Pictures(files(_figure(given, rows, last, photo)), _numbers(rows), notes)


def _figure(given: PictureInput, rows: list[TrackedObject], last: Snapshot, photo: Array) -> Any:
    view = view_around(last.box[None], last.size, margin=0.4)
    columns, lines = max(len(row.snapshots) for row in rows), 2 * len(rows)
    width = 8.5 / max(columns, 2)
    height = 1.3 + lines * (width * (view[3] - view[1]) / (view[2] - view[0]) + 0.36)
    figure = sheet(given, min(height, 18))
    axes = figure.subplots(lines, columns, squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for place, row in enumerate(rows):
        above, below = axes[2 * place], axes[2 * place + 1]
        for at, snapshot in enumerate(row.snapshots):
            _assignment(above[at], snapshot, photo, view)
            _predictions(below[at], snapshot, photo, view)
        above[0].set_ylabel(f"{row.label}\nassignment", fontsize=10)
        below[0].set_ylabel(f"{row.label}\npredicted boxes", fontsize=10)
    figure.legend(handles=_marks(), loc="outside lower left", ncols=4, fontsize=9)
    return figure


def _marks() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color="black", lw=1.8, label="the object"),
        Line2D([], [], color=BLUE, lw=1.2, marker="o", ms=4, label="positive anchor and its centre"),
        Line2D([], [], color="#444444", marker="x", ls="", ms=5, label="other candidate"),
        Line2D([], [], color=ORANGE, lw=1.4, label="predicted box"),
    ]


def _assignment(panel: Any, snapshot: Snapshot, photo: Array, view: tuple[float, ...]) -> None:
    show(panel, photo, snapshot.size, view)
    anchors, positive = snapshot.boxes("anchors"), snapshot.array("positive") > 0
    for anchor in anchors[positive]:
        outline(panel, anchor, color=BLUE, lw=1.0, alpha=0.85)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    panel.plot(*centres[~positive].T, "x", color="#444444", ms=4, mew=0.9)
    panel.plot(*centres[positive].T, "o", color=BLUE, mec="white", mew=0.5, ms=5)
    outline(panel, snapshot.box, color="black", lw=1.8, halo="white")
    start = "before training" if snapshot.step == 0 else f"iteration {snapshot.step:,}"
    panel.set_title(f"{start}\n{positive.sum()} of {len(positive)} candidates positive", fontsize=9)


def _predictions(panel: Any, snapshot: Snapshot, photo: Array, view: tuple[float, ...]) -> None:
    show(panel, photo, snapshot.size, view)
    predicted = snapshot.boxes("predicted")[snapshot.array("positive") > 0]
    for box in predicted:
        outline(panel, box, color=ORANGE, lw=1.4, alpha=0.9)
    outline(panel, snapshot.box, color="black", lw=1.8, halo="white")
    mean = f"mean IoU {iou(predicted, snapshot.box).mean():.2f}" if len(predicted) else "no positive anchor"
    panel.set_title(mean, fontsize=9)


def _numbers(rows: list[TrackedObject]) -> pd.DataFrame:
    parts = []
    for row in rows:
        for snapshot in row.snapshots:
            values: dict[str, Any] = {"row": row.label, "step": snapshot.step}
            for name in ("anchors", "predicted"):
                boxes = snapshot.boxes(name)
                values |= {f"{name}_{side}": boxes[:, at] for at, side in enumerate(("x1", "y1", "x2", "y2"))}
            values["positive"] = snapshot.array("positive") > 0
            values["confidence"] = snapshot.array("confidence")
            values["predicted_iou"] = np.round(iou(snapshot.boxes("predicted"), snapshot.box), 4)
            parts.append(pd.DataFrame(values))
    return pd.concat(parts, ignore_index=True)
