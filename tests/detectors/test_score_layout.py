"""Positions in the score maps, against mmdet's own way of laying out scores."""

import itertools

import pytest
import torch

from suite.detectors.score_layout import ScoreLayout

# (images, anchors a location, classes, sizes of the levels)
CASES = [
    (1, 1, 1, [(1, 1)]),
    (2, 1, 3, [(4, 5), (2, 3)]),
    (3, 4, 2, [(5, 3), (3, 2), (1, 1)]),
    (2, 9, 5, [(2, 7), (7, 2)]),
    (1, 3, 80, [(3, 4), (2, 2), (1, 2)]),
]


def numbered_maps(images, per_location, classes, sizes):
    """Maps whose every score is its position in the maps, laid one behind the other."""
    counts = [images * per_location * classes * height * width for height, width in sizes]
    numbers = torch.arange(sum(counts)).split(counts)
    return [
        part.view(images, per_location * classes, height, width)
        for part, (height, width) in zip(numbers, sizes, strict=True)
    ]


def as_mmdet_reads(maps, images, classes):
    """(images, A, classes), by the permutation of mmdet's dense heads."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(images, -1, classes) for level in maps], dim=1)


@pytest.mark.parametrize(("images", "per_location", "classes", "sizes"), CASES)
def test_pairs_point_at_the_score_that_mmdet_reads(images, per_location, classes, sizes):
    maps = numbered_maps(images, per_location, classes, sizes)
    layout = ScoreLayout.of(maps, classes)
    assert (layout.images, layout.per_location, layout.classes) == (images, per_location, classes)
    assert layout.sizes == tuple(sizes)
    scores = as_mmdet_reads(maps, images, classes)
    assert layout.anchors == scores.shape[1] == sum(layout.anchors_of_levels)
    image, anchor, label = (torch.arange(length) for length in scores.shape)
    found = layout.pairs(image[:, None, None], anchor[:, None], label)
    assert torch.equal(found, scores)
    assert len(found.unique()) == found.numel()


@pytest.mark.parametrize(("images", "per_location", "classes", "sizes"), CASES)
def test_order_of_anchors_is_level_row_column_anchor(images, per_location, classes, sizes):
    maps = numbered_maps(images, per_location, classes, sizes)
    layout = ScoreLayout.of(maps, classes)
    anchor = 0
    for level, (height, width) in enumerate(sizes):
        for row, column, slot in itertools.product(range(height), range(width), range(per_location)):
            last = [torch.tensor(value) for value in (images - 1, anchor, classes - 1)]
            assert layout.pairs(*last) == maps[level][-1, (slot + 1) * classes - 1, row, column]
            assert layout.level_of(torch.tensor(anchor)) == level
            anchor += 1


def test_level_of_keeps_any_shape():
    layout = ScoreLayout(((2, 3), (1, 2)), images=1, per_location=2, classes=4)
    anchors = torch.tensor([[0, 11, 12], [15, 5, 13]])
    assert layout.level_of(anchors).tolist() == [[0, 0, 1], [1, 0, 1]]
    assert layout.level_of(anchors[:, :0]).shape == (2, 0)
    assert layout.pairs(torch.zeros(2, 1).long(), anchors[:, :0], torch.zeros(2, 1).long()).shape == (2, 0)
