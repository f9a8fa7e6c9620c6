"""Draws the generated dataset's distributions beside COCO's.

python docs/figures/dataset_statistics.py ANNOTATIONS [FOLDER]

ANNOTATIONS is the file of the training images, instances_train2017.json, of preset midi's dataset. Writes
dataset_statistics.png and .svg into FOLDER, by default beside this file.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from suite.data.scenes import STRIDES_PER_IMAGE
from suite.data.statistics import COCO_VAL2017, Statistics, statistics

NAME = "dataset_statistics"
OURS, COCO = "#d55e00", "#0072b2"


def draw_quantiles(axes: Axes, name: str, label: str, found: Statistics, ticks: list[float]) -> None:
    """Quantiles on a logarithmic axis, ours and COCO's."""
    for numbers, colour, marker, who in (
        (getattr(COCO_VAL2017, name), COCO, "s", "COCO val2017 at 800 px"),
        (getattr(found, name), OURS, "o", "generated, preset midi"),
    ):
        axes.plot(list(numbers.values()), list(numbers), color=colour, marker=marker, label=who)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.set_ylabel("% of objects below" if name != "objects" else "% of images below")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)


def draw_shares(axes: Axes, found: Statistics) -> None:
    """Images by crowdedness."""
    for shift, numbers, colour in ((-0.2, COCO_VAL2017, COCO), (0.2, found, OURS)):
        heights = [100 * share for share in numbers.crowdedness]
        axes.bar([place + shift for place in range(3)], heights, 0.4, color=colour)
    axes.set_xticks(range(3), ["sparse", "medium", "dense"])
    axes.set_xlabel("crowdedness of images")
    axes.set_ylabel("% of images")
    axes.grid(alpha=0.3, axis="y")


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent)
    given = parser.parse_args()
    found = statistics(json.loads(given.annotations.read_text()), STRIDES_PER_IMAGE)
    plt.rcParams["svg.hashsalt"] = NAME
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    draw_quantiles(
        axes[0, 0], "sizes", "size of an object in strides of the finest level", found, [2, 4, 8, 16, 32, 64]
    )
    draw_quantiles(axes[0, 1], "aspect_ratios", "aspect ratio of an object", found, [1, 1.5, 2, 3, 4, 6])
    draw_quantiles(axes[1, 0], "objects", "objects per image", found, [1, 2, 4, 8, 16, 32])
    draw_shares(axes[1, 1], found)
    axes[0, 0].legend(loc="upper left")
    given.folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.folder / f"{NAME}.png", dpi=110)
    figure.savefig(given.folder / f"{NAME}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
