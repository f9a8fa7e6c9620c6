"""What figures show, checked on the drawn objects."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from suite.reporting.labels import label_points


@pytest.mark.parametrize("n", [1, 12, 80])
def test_names_never_overlap_each_other_or_a_point(n: int) -> None:
    rng = np.random.default_rng(n)
    points = [(float(1 + abs(rng.normal())), float(rng.normal()), f"category {i}") for i in range(n)]
    figure = Figure(figsize=(6, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([x for x, _, _ in points], [y for _, y, _ in points], "o", ms=5)
    axes.margins(0.15)
    label_points(axes, points)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    assert len(boxes) >= min(n, 12)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    centres = axes.transData.transform([(x, y) for x, y, _ in points])
    assert not any(box.contains(x, y) for box in boxes for x, y in centres)
