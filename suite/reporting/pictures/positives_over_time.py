"""PAA's Fig. 4(b): how many positives each object has, over a training."""

from typing import Any

import numpy as np
import pandas as pd

from suite.reporting.pictures.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, files, sheet
from suite.reporting.pictures.model import PictureInput, Pictures
from suite.reporting.pictures.telemetry import lines_of

_COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, GREY)
_STYLES = ("-", "--", "-.", ":")
_SIDE_BY_SIDE = 3


def draw(given: PictureInput) -> Pictures:
    """One panel per method: a dot per number of positives, larger the more objects have it, and the mean."""
    found: list[tuple[str, pd.DataFrame]] = []
    problems = []
    for row in given.rows:
        lines = lines_of(row)
        if isinstance(lines, str):
            problems.append(lines)
            continue
        counts = [
            {"row": row.label, "step": line["step"], "object": at, "positives": count}
            for line in lines
            for at, count in enumerate(line["per_object"])
        ]
        if not counts:
            problems.append(f"{row.label}: the images that its telemetry looks at have no objects.")
            continue
        found.append((row.label, pd.DataFrame(counts)))
    if not found:
        return Pictures(reason=" ".join(problems))
    figure = _figure(given, found)
    objects = {label: counts["object"].nunique() for label, counts in found}
    few = ", ".join(f"{label} {count}" for label, count in objects.items())
    same = len(set(objects.values())) == 1
    number = str(next(iter(objects.values()))) if same else few
    notes = [
        f"The objects ({number}) are all those of the training images that the telemetry looks at, the same "
        "throughout. Dots: individual values, larger the more objects have them. Lines: the mean.",
        "A bag's positives are the members with at least half of its highest confidence.",
        *problems,
    ]
    above = sum(int((counts["positives"] > given.settings["highest"]).sum()) for _, counts in found)
    if above:
        notes.append(
            f"{above} values above {given.settings['highest']} are outside the axis; the table has them."
        )
    return Pictures(files(figure), pd.concat([counts for _, counts in found], ignore_index=True), notes)


def _figure(given: PictureInput, found: list[tuple[str, pd.DataFrame]]) -> Any:
    columns = min(_SIDE_BY_SIDE, len(found))
    lines = -(-len(found) // columns)
    figure = sheet(given, 1.1 + 3.4 * lines, 9.5 if columns > 1 else 7.0)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel in panels[len(found) :]:
        panel.axis("off")
    for index, (panel, (label, counts)) in enumerate(zip(panels, found, strict=False)):
        colour = _COLOURS[index % len(_COLOURS)]
        same = counts.groupby(["step", "positives"]).size().reset_index(name="objects")
        panel.scatter(
            same["step"],
            same["positives"],
            s=5 + 9 * np.sqrt(same["objects"]),
            color=colour,
            alpha=0.35,
            lw=0,
            label="individual values",
        )
        mean = counts.groupby("step")["positives"].mean()
        panel.plot(
            mean.index,
            mean,
            _STYLES[index % len(_STYLES)],
            color="#222222",
            lw=1.8,
            marker="D",
            ms=4,
            label="mean",
        )
        panel.annotate(f"{mean.iloc[-1]:.1f}", (mean.index[-1], mean.iloc[-1]), (6, 0),
                       textcoords="offset points", va="center", fontsize=9)  # fmt: skip
        panel.set_title(label)
        panel.grid(visible=True)
        panel.set_ylim(-0.8, given.settings["highest"])
        panel.margins(x=0.15)
        panel.set_xlabel("iteration")
    for panel in panels[::columns]:
        panel.set_ylabel("positives of an object")
    panels[0].legend(loc="upper left", fontsize=9)
    return figure
