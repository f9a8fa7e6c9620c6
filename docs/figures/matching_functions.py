"""Draws the matching functions of FreeAnchor and LTM, computed by the code that training uses.

python docs/figures/matching_functions.py [FOLDER]

Writes matching_functions.png and .svg into FOLDER, by default beside this file; the same ones each time.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from suite.detectors.free_anchor_head import saturated_linear
from suite.detectors.mean_max import MATCHING
from suite.reporting.pictures.write_formulas import negative, positive

NAME = "matching_functions"
LEVELS = [step / 10 for step in range(11)]

# Colours that the colour-blind tell apart (Okabe and Ito, but for one), and dashes for print.
CURVES = {
    "eq25": ("#d55e00", "-"),
    "meanmax2": ("#0072b2", (0, (4, 1, 1, 1))),
    "one_minus_meanmax": ("#009e73", (0, (8, 2, 1, 2))),
    "max": ("#000000", (0, (6, 2))),
    "noisy_or": ("#56b4e9", "-"),
    "eq25_detached": ("#4d2000", (0, (1, 2.5))),
    "eq11_literal": ("#cc79a7", (0, (2, 1))),
}


def draw_saturated_linear(axes: Axes) -> None:
    """FreeAnchor's Fig. 2."""
    t1, t2 = 0.5, 0.9
    x = torch.linspace(0, 1, 501, dtype=torch.float64)
    axes.plot(x, saturated_linear(x, t1, torch.full_like(x, t2)), color="#0072b2", linewidth=2, clip_on=False)
    for threshold, name in ((t1, "$t_1$"), (t2, "$t_2$")):
        axes.axvline(threshold, color="0.6", linewidth=0.8, linestyle=":")
        axes.annotate(f"{name} = {threshold}", (threshold - 0.015, 0.5), rotation=90, ha="right", va="center")
    axes.set(xlabel="IoU of the predicted box", ylabel=r"$P\{a \to b\}$", title="Saturated linear")


def draw_surface(axes: Axes, values: Tensor, grid: Tensor, title: str) -> None:
    """A function of a bag of two as contours."""
    # The lighter half: the numbers on the lines stay readable.
    colours = plt.get_cmap("Blues")(torch.linspace(0, 0.55, len(LEVELS) - 1))
    axes.contourf(grid, grid, values, LEVELS, colors=colours)
    lines = axes.contour(grid, grid, values, LEVELS[1:-1], colors="black", linewidths=0.7)
    along = [(level, level) for level in LEVELS[1:-1]]
    for text in axes.clabel(lines, fmt="%.1f", fontsize=7.5, manual=along):
        text.set_rotation(0)
    axes.set(xlabel=r"first member's $\phi$", ylabel=r"second member's $\phi$", title=title)


def draw_functions(axes: Axes) -> None:
    """1 - M- by every function, along a bag whose second member has a fifth of the first one's phi."""
    phi = torch.linspace(0.001, 0.999, 500, dtype=torch.float64)
    bags = torch.stack([phi, 0.2 * phi], dim=1)
    for function in MATCHING:
        colour, dashes = CURVES[function]
        width = 3.2 if function == "eq25" else 1.7  # seen beneath eq25_detached, which has the same values
        values = negative(bags, function)
        axes.plot(phi, values, color=colour, linestyle=dashes, linewidth=width, label=function)
    axes.legend(fontsize=7, handlelength=4.2, labelspacing=0.3, loc="lower right", framealpha=1)
    axes.set(xlabel=r"$\phi$ of a bag $(\phi,\ 0.2\,\phi)$", ylabel="$1 - M_-$", title="Negative matching")


def draw(folder: Path) -> list[Path]:
    """Write the figure as PNG and as SVG; returns the two paths."""
    settings = {"svg.hashsalt": NAME, "font.size": 9, "axes.titlesize": 10}
    grid = torch.linspace(0.001, 0.999, 101, dtype=torch.float64)
    pairs = torch.cartesian_prod(grid, grid)
    square = (len(grid), len(grid))
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{NAME}.png", folder / f"{NAME}.svg"]
    with plt.style.context("default"), plt.rc_context(settings):
        figure, axes = plt.subplots(2, 2, figsize=(8.4, 7.8), layout="constrained")
        draw_saturated_linear(axes[0, 0])
        draw_surface(axes[0, 1], positive(pairs).view(square), grid, "Mean-max $M_+$ of two members")
        draw_surface(axes[1, 0], negative(pairs).view(square), grid, "$1 - M_-$ of two members (eq25)")
        draw_functions(axes[1, 1])
        for panel, letter in zip(axes.flat, "abcd", strict=True):
            panel.set_title(f"({letter})", loc="left", fontweight="bold")
            panel.set(xlim=(0, 1), ylim=(0, 1))
            panel.set_aspect("equal")
        figure.savefig(written[0], dpi=150, metadata={"Software": None})
        figure.savefig(written[1], metadata={"Date": None})
        plt.close(figure)
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent)
    for path in draw(parser.parse_args().folder):
        print(path)
