"""The grid of anchors and points, against mmdet's generators and against all anchors at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.prior_generators import AnchorGenerator, MlvlPointGenerator
from mmdet.structures.bbox import bbox_overlaps
from torch.utils._python_dispatch import TorchDispatchMode

from suite.detectors.bags import anchor_bags, point_bags
from suite.detectors.grid import cell_overlaps, grid_anchors, grid_levels, side_overlaps, total_areas
from suite.detectors.points import StridePointGenerator

SIZES = ((7, 11), (4, 6))
RETINA = dict(octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0])
GENERATORS = {
    "retina": AnchorGenerator(strides=[8, 16], **RETINA),
    "offset": AnchorGenerator(strides=[8, 16], center_offset=0.5, **RETINA),
    "centers": AnchorGenerator(strides=[8, 16], centers=[(3.0, 5.0), (9.0, 1.0)], scales=[2.0], ratios=[0.3]),
    "one": AnchorGenerator(strides=[8, 16], scales=[8], ratios=[1.0], base_sizes=[5, 11]),
    "oblong stride": AnchorGenerator(strides=[(8, 4), (16, 12)], scales=[3, 4], ratios=[1.0, 2.0]),
    "points": MlvlPointGenerator([8, 16], offset=0.25),
    "stride points": StridePointGenerator([8, 16]),
}


def all_priors(generator, sizes=SIZES):
    return torch.cat(generator.grid_priors(sizes, device="cpu"))


@pytest.mark.parametrize("name", [name for name in GENERATORS if not name.endswith("points")])
def test_all_anchors_are_those_of_the_generator(name):
    found = grid_anchors(grid_levels(GENERATORS[name], SIZES, "cpu"))
    torch.testing.assert_close(found, all_priors(GENERATORS[name]), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", GENERATORS)
def test_centres_shapes_and_indices_are_those_of_the_priors(name):
    generator = GENERATORS[name]
    priors = all_priors(generator)
    indices = []
    for level, (height, width) in zip(grid_levels(generator, SIZES, "cpu"), SIZES, strict=True):
        columns, rows = (cells[0] for cells in level.every_cell(1))
        assert (len(rows), len(columns)) == (level.height, level.width) == (height, width)
        index = level.index(columns.expand(height, width), rows[:, None].expand(height, width))
        assert index.shape == (height, width, len(level.shapes))
        own = priors[index]
        if name.endswith("points"):
            centre, shapes = own[..., :2], torch.zeros(*index.shape, 2)
        else:
            centre, shapes = (own[..., :2] + own[..., 2:]) / 2, own[..., 2:] - own[..., :2]
        x, y = level.x(columns)[:, None].expand(index.shape), level.y(rows)[:, None, None].expand(index.shape)
        torch.testing.assert_close(centre, torch.stack([x, y], dim=-1), rtol=1e-6, atol=1e-4)
        torch.testing.assert_close(shapes, level.shapes.expand_as(shapes), rtol=1e-5, atol=1e-4)
        indices.append(index.flatten())
    assert torch.equal(torch.cat(indices), torch.arange(len(priors)))


def test_every_cell_is_given_once_an_object():
    level = grid_levels(GENERATORS["one"], SIZES, "cpu")[1]
    columns, rows = level.every_cell(3)
    assert columns.tolist() == [[0, 1, 2, 3, 4, 5]] * 3
    assert rows.tolist() == [[0, 1, 2, 3]] * 3


coordinate = st.floats(-150, 250, width=32)
length = st.floats(-1, 11).map(lambda exponent: 2**exponent)
aspect = st.floats(-3, 3).map(lambda exponent: 2**exponent)


@st.composite
def boxes(draw):
    """An object anywhere: in the maps of 88 x 56 pixels, across their border or beyond."""
    x, y, side, ratio = draw(coordinate), draw(coordinate), draw(length), draw(aspect)
    return [x - side * ratio / 2, y - side / ratio / 2, x + side * ratio / 2, y + side / ratio / 2]


EXTREME = [
    [40.0, 24, 40.5, 24.5],  # half a pixel, at a centre
    [-4.0, -4, 4, 4],  # across the corner
    [-90.0, -70, -60, -30],  # outside
    [300.0, 200, 380, 290],
    [-1000.0, -1000, 1100, 1100],  # everything
    [0.0, 20, 88, 21],  # 88 : 1
    [43.0, -300, 44, 500],
    [16.0, 16, 48, 48],  # equally far from many
]


def assert_best_of_all(name, objects, most):
    generator = GENERATORS[name]
    anchors = all_priors(generator)
    objects = torch.tensor(objects, dtype=torch.float32)
    bags = anchor_bags(grid_levels(generator, SIZES, "cpu"), objects, most)
    assert bags.shape == (len(objects), min(most, len(anchors)))
    every = bbox_overlaps(objects, anchors)
    expected = every.topk(bags.shape[1], dim=1).values
    found = every.gather(1, bags).sort(dim=1, descending=True).values
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert all(len(bag.unique()) == len(bag) for bag in bags)


@pytest.mark.parametrize("name", [name for name in GENERATORS if not name.endswith("points")])
# A level of the first generator has 693 anchors, the other 216.
@pytest.mark.parametrize("most", [1, 2, 9, 50, 250, 800, 5000])
def test_the_best_of_all_anchors_lie_near_the_object(name, most):
    assert_best_of_all(name, EXTREME, most)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.sampled_from([name for name in GENERATORS if not name.endswith("points")]),
    st.lists(boxes(), min_size=1, max_size=4),
    st.integers(1, 950),
)
def test_the_best_of_all_anchors_lie_near_any_object(name, objects, most):
    assert_best_of_all(name, objects, most)


@pytest.mark.parametrize("name", ["retina", "offset", "oblong stride"])
@pytest.mark.parametrize("most", [1, 7, 40, 1000])
def test_cell_overlaps_are_the_iou_of_their_anchors(name, most):
    generator = GENERATORS[name]
    objects = torch.tensor(EXTREME)
    every = bbox_overlaps(objects, all_priors(generator))
    for level in grid_levels(generator, SIZES, "cpu"):
        iou, index = cell_overlaps(level, objects, most)
        assert iou.shape == index.shape
        assert all(len(row.unique()) == len(row) for row in index)
        torch.testing.assert_close(iou, every.gather(1, index), rtol=1e-4, atol=1e-6)


def test_cells_near_an_object_come_by_rising_distance():
    level = grid_levels(GENERATORS["one"], SIZES, "cpu")[0]
    columns, rows, (i, j) = level.near(torch.tensor([[20.0, -8, 28, 0], [-30, 40, -20, 60]]), 4)
    # Centres of columns and rows are at 0, 8, ..; those of the objects at (24, -4) and at (-25, 50).
    assert columns[0, 0] == 3 and set(columns[0, 1:3].tolist()) == {2, 4}
    assert columns[1].tolist() == [0, 1, 2, 3]
    assert rows.tolist() == [[0, 1, 2, 3], [6, 5, 4, 3]]
    assert {(a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True)} == {
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0), (3, 0)
    }  # fmt: skip


def test_sides_and_areas_make_the_iou_of_every_anchor():
    generator = GENERATORS["offset"]
    objects = torch.tensor(EXTREME)
    found = []
    for level in grid_levels(generator, SIZES, "cpu"):
        across, down = side_overlaps(level, objects, *level.every_cell(len(objects)))
        common = down[:, :, None] * across[:, None]  # row, column, anchor: the order of the priors
        areas = total_areas(level, objects)
        assert (areas > 0).all()
        found.append((common / (areas[:, None, None] - common)).flatten(1))
    torch.testing.assert_close(
        torch.cat(found, dim=1), bbox_overlaps(objects, all_priors(generator)), rtol=1e-4, atol=1e-6
    )


class CopiesBetweenDevices(TorchDispatchMode):
    """Counts the tensors that are made on another device than the one they are made of."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        source = args[0] if args else None
        if isinstance(found, torch.Tensor) and isinstance(source, torch.Tensor):
            self.count += found.device != source.device
        return found


@pytest.mark.parametrize(
    ("name", "bags", "size"), [("retina", anchor_bags, 17), ("stride points", point_bags, 18)]
)
def test_bags_copy_nothing_to_a_device_that_has_had_a_batch(name, bags, size):
    device = torch.device("meta")  # stands for a GPU, which would wait for each copy
    levels = grid_levels(GENERATORS[name], SIZES, device)
    objects = torch.tensor(EXTREME, device=device)
    with CopiesBetweenDevices() as first:
        bags(levels, objects, size)
    assert first.count == 2  # one a level
    with CopiesBetweenDevices() as second:
        bags(levels, objects[:3], size)
    assert second.count == 0
