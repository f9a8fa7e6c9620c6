"""PAA's Fig. 3: where four schemes separate the candidates of an object, on a mixture of two Gaussians."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.reporting.pictures.canvas import BLUE, RED, files, sheet
from suite.reporting.pictures.formulas import formulas
from suite.reporting.pictures.model import PictureInput, Pictures

Array = npt.NDArray[Any]
SCHEMES = {
    "a": "positive where the foreground is likelier",
    "b": "positive to one peak, negative from the other, ignored between",
    "c": "positive to the foreground peak, all others negative",
    "d": "positive to the foreground peak, rest of the foreground ignored",
}
_NAMES = {1: "positive", -1: "ignored", 0: "negative"}
_LOOKS = {1: (BLUE, "o", "////"), -1: ("#bbbbbb", "s", ""), 0: (RED, "x", "....")}


def draw(given: PictureInput) -> Pictures:
    """One panel per scheme: the mixture, and below it the candidates as the scheme labels them."""
    found = formulas()["separation"]
    losses = np.array(found["losses"])
    scores = -losses
    line = -np.array(found["line"])
    components = {name: np.array(found[name]) for name in ("foreground", "background")}
    figure = sheet(given, 6.6)
    panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    columns = {"loss": losses, "log_score": scores}
    for panel, (scheme, rule) in zip(panels, SCHEMES.items(), strict=True):
        labels = np.array(found["labels"][scheme])
        columns[f"scheme_{scheme}"] = np.array([_NAMES[label] for label in labels])
        for (name, density), style in zip(components.items(), ("--", "-."), strict=True):
            panel.plot(line, density, style, color="#222222", lw=1.1, label=f"{name} component")
        panel.plot(line, sum(components.values()), color="#222222", lw=1.8, label="mixture")
        for label, (colour, marker, hatch) in _LOOKS.items():
            own = scores[labels == label]
            edge = {"ec": "#222222", "lw": 0.4} if marker != "x" else {"lw": 1.2}
            panel.scatter(own, np.full(len(own), -0.06), marker=marker, s=24, color=colour,
                          label=_NAMES[label], clip_on=False, **edge)  # fmt: skip
            if len(own):
                span = _range(own, scores)
                panel.axvspan(*span, ymin=0.16, color=colour, alpha=0.14, lw=0)
                panel.axvspan(*span, ymin=0.16, fc="none", ec=colour, alpha=0.25, lw=0, hatch=hatch)
        count = ", ".join(f"{int((labels == label).sum())} {name}" for label, name in _NAMES.items())
        panel.set_title(f"({scheme}) {rule}\n{count}", fontsize=9)
        panel.set_ylim(-0.16, None)
        panel.set_yticks([])
    for panel in panels[2:]:
        panel.set_xlabel("log anchor score (= -loss); better to the right")
    for panel in panels[::2]:
        panel.set_ylabel("density")
    handles, names = panels[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=6, fontsize=9)
    note = (
        "Made-up candidates: 15 around a loss of 0.8 and 30 around 1.7, with the mixture that PAA fits to "
        "them. The peak of a component is, among the candidates likelier in it, the one where the mixture is "
        "densest. (b) is the paper's choice, (c) the authors' since August 2020 and the suite's default."
    )
    return Pictures(files(figure), pd.DataFrame(columns), [note])


def _range(own: Array, every: Array) -> tuple[float, float]:
    """The range of scores of one label, up to half way to the next candidate of another label."""
    rising = np.sort(every)
    first, last = np.searchsorted(rising, [own.min(), own.max()])
    low = (rising[first] + rising[max(first - 1, 0)]) / 2 if first else rising[0] - 0.25
    top = len(rising) - 1
    high = (rising[last] + rising[min(last + 1, top)]) / 2 if last < top else rising[-1] + 0.25
    return float(low), float(high)
