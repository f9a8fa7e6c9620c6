"""PAA's Fig. 1: the scores of one object's candidates, and the mixture of two Gaussians fitted to them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.reporting.pictures.canvas import BLUE, RED, files, sheet
from suite.reporting.pictures.model import PictureInput, Pictures
from suite.reporting.pictures.telemetry import Snapshot, described, watched

Array = npt.NDArray[Any]


def component_densities(losses: Array, mixture: dict[str, list[float]]) -> Array:
    """Weight x normal density of each component at losses (m,), shape (2, m).

    Args:
        losses: Any losses.
        mixture: ``weights``, ``means`` and ``variances`` of the two components, as the telemetry wrote them.
    """
    from scipy.stats import norm

    weights, means, variances = (
        np.array(mixture[part])[:, None] for part in ("weights", "means", "variances")
    )
    densities: Array = weights * norm.pdf(losses, means, np.sqrt(variances))
    return densities


def draw(given: PictureInput) -> Pictures:
    """One panel per snapshot: a histogram of positive and other candidates, and over it the densities."""
    rows, problems = watched(given.rows, given.settings["object"], given.settings["iterations"], "mixture")
    if not rows:
        return Pictures(reason=" ".join(problems))
    snapshots = [(row.label, snapshot) for row in rows for snapshot in row.snapshots]
    figure = sheet(given, 1.2 + 3.4 * len(snapshots))
    panels = figure.subplots(len(snapshots), 1, squeeze=False)[:, 0]
    numbers = []
    for panel, (label, snapshot) in zip(panels, snapshots, strict=True):
        numbers.append(_panel(panel, label, snapshot))
    panels[-1].set_xlabel("log anchor score (= -loss); better to the right")
    notes = [
        described(rows[0].snapshots[-1]),
        "The curves are the densities, scaled so that they cover the same area as the bars. PAA fits the "
        "mixture to the losses; the logarithm of an anchor score is its loss with the other sign.",
        *problems,
    ]
    return Pictures(files(figure), pd.concat(numbers, ignore_index=True), notes)


def _panel(panel: Any, label: str, snapshot: Snapshot) -> pd.DataFrame:
    losses, mixture = snapshot.array("losses"), snapshot.bag["mixture"]
    positive = snapshot.array("positive") > 0
    edges = np.histogram_bin_edges(-losses, bins=min(20, max(8, len(losses) // 2)))
    bar = edges[1] - edges[0]
    panel.hist(
        [-losses[positive], -losses[~positive]],
        bins=edges,
        stacked=True,
        color=[BLUE, "#cccccc"],
        hatch=["////", ""],
        ec="white",
        label=[f"positive ({positive.sum()})", f"other candidates ({(~positive).sum()})"],
    )
    reach = 0.1 * (edges[-1] - edges[0]) + bar
    x = np.linspace(edges[0] - reach, edges[-1] + reach, 500)
    densities = component_densities(-x, mixture) * len(losses) * bar
    names = ("foreground component", "background component")
    for density, style, colour, name in zip(densities, ("--", "-."), (BLUE, RED), names, strict=True):
        panel.plot(x, density, style, color=colour, lw=2, label=name)
    panel.plot(x, densities.sum(axis=0), color="#222222", lw=1.2, label="mixture")
    # A collapsed component is a needle far above all bars.
    tallest = np.histogram(-losses, edges)[0].max()
    panel.set_ylim(0, min(panel.get_ylim()[1], 1.6 * tallest))
    panel.set_title(f"{label}, after {snapshot.step:,} iterations: {len(losses)} candidates")
    panel.set_ylabel("candidates")
    panel.grid(visible=True, axis="y")
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    foreground = component_densities(losses, mixture)
    return pd.DataFrame(
        {
            "row": label,
            "step": snapshot.step,
            "loss": losses,
            "score": np.round(np.exp(-losses), 6),
            "posterior": snapshot.array("confidence"),
            "positive": positive,
            "foreground_density": np.round(foreground[0], 6),
            "background_density": np.round(foreground[1], 6),
        }
    )
