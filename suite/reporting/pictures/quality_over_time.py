"""Localisation against classification quality of positives, over a training: does a loss tie the two?"""

from typing import Any

import pandas as pd

from suite.reporting.pictures.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, files, sheet
from suite.reporting.pictures.model import PictureInput, Pictures
from suite.reporting.pictures.telemetry import lines_of

_COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, GREY)
_MARKS = ("o", "s", "^", "D", "v", "P")


def draw(given: PictureInput) -> Pictures:
    """Left the mean IoU of the positives against their mean score; right their correlation by step."""
    found: list[pd.DataFrame] = []
    problems = []
    for row in given.rows:
        lines = lines_of(row)
        if isinstance(lines, str):
            problems.append(lines)
            continue
        known = [line for line in lines if line.get("quality")]
        if known:
            values = [{"row": row.label, "step": line["step"], **line["quality"]} for line in known]
            found.append(pd.DataFrame(values))
        else:
            problems.append(f"{row.label}: its telemetry has no quality of positives.")
    if not found:
        return Pictures(reason=" ".join(problems))
    notes = [
        "Positives are those of the training images that the telemetry looks at. The score is that of the "
        "object's class, the IoU that of the predicted box with the object; the correlation is Spearman's.",
        "Left: from the first moment (hollow) to the last one.",
        *problems,
    ]
    return Pictures(files(_figure(given, found)), pd.concat(found, ignore_index=True), notes)


def _figure(given: PictureInput, found: list[pd.DataFrame]) -> Any:
    figure = sheet(given, 4.5, 9.5)
    left, right = figure.subplots(1, 2)
    for index, values in enumerate(found):
        label = values["row"].iloc[0]
        style: dict[str, Any] = dict(
            color=_COLOURS[index % len(_COLOURS)], marker=_MARKS[index % len(_MARKS)], ms=5
        )
        left.plot(values["score"], values["iou"], label=label, **style)
        left.plot(values["score"].iloc[:1], values["iou"].iloc[:1], **{**style, "mfc": "white", "ms": 8})
        right.plot(values["step"], values["correlation"], label=label, **style)
    left.set_xlabel("mean score of the positives")
    left.set_ylabel("mean IoU of their boxes")
    right.set_xlabel("iteration")
    right.set_ylabel("rank correlation of score and IoU")
    for panel in (left, right):
        panel.grid(visible=True)
    right.legend(loc="best", fontsize=9)
    return figure
