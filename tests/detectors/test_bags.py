import pytest
import torch

from suite.detectors import bags as bags_module
from suite.detectors.bags import anchor_bags, point_bags
from suite.detectors.points import StridePointGenerator

STRIDES = (8, 16, 32, 64, 128)
# Off the grid of every level, so that no two points are equally far.
CENTRE = (617.3, 397.7)


def iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def test_anchor_bags_are_the_anchors_of_highest_iou(monkeypatch):
    monkeypatch.setattr(bags_module, "_PAIRS_AT_ONCE", 100)  # two objects at once
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(57, 2, 2, generator=generator).sort(dim=1).values * 100
    boxes = corners.flatten(1)
    anchors, objects = boxes[:50], boxes[50:]
    found = anchor_bags(anchors, objects, 6)
    assert found.shape == (7, 6)
    for members, box in zip(found, objects, strict=True):
        by_iou = sorted(range(50), key=lambda index: -iou(anchors[index].tolist(), box.tolist()))
        assert set(members.tolist()) == set(by_iou[:6])


@pytest.mark.parametrize("make", [anchor_bags, point_bags])
def test_bags_of_few_anchors_and_of_no_object(make):
    anchors = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [4, 4, 8, 8]])
    assert set(make(anchors, torch.tensor([[0.0, 0, 8, 8]]), 40)[0].tolist()) == {0, 1, 2}
    assert make(anchors, torch.zeros(0, 4), 40).shape == (0, 3)


@pytest.fixture(scope="module")
def points() -> list[torch.Tensor]:
    return StridePointGenerator(STRIDES).grid_priors([(-(-800 // s), -(-1344 // s)) for s in STRIDES])


@pytest.mark.parametrize(
    ("width", "height", "counts", "inside"),
    [
        (8, 8, (40, 0, 0, 0, 0), 1),
        (32, 32, (37, 2, 1, 0, 0), 19),
        (64, 64, (28, 9, 2, 1, 0), None),
        (128, 128, (16, 12, 9, 2, 1), None),
        (256, 256, (9, 9, 9, 9, 4), None),
        (512, 512, (9, 7, 9, 9, 6), None),
        (400, 40, (12, 18, 10, 0, 0), None),
    ],
)
def test_point_bags_take_their_levels_as_the_released_code(points, width, height, counts, inside):
    x, y = CENTRE
    box = torch.tensor([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    members = torch.cat(points)[point_bags(torch.cat(points), box, 40)[0]]
    assert tuple(int((members[:, 2] == stride).sum()) for stride in STRIDES) == counts
    if inside is not None:
        within = (members[:, :2] > box[0, :2]) & (members[:, :2] < box[0, 2:])
        assert int(within.all(dim=1).sum()) == inside


def test_points_outside_the_window_take_part_on_the_lowest_level_only(points):
    every = torch.cat(points)
    box = torch.tensor([[400.0, 300.0, 528.0, 428.0]])
    members = every[point_bags(every, box, 300)[0]]
    off = (members[:, :2] - 464).abs()
    off[:, 1] = (members[:, 1] - 364).abs()
    outside = (off * 2 / 129 > 0.8).any(dim=1)
    assert outside.any() and (members[outside, 2] == 8).all()
