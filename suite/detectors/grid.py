"""The regular grid of anchors or points, on which the best ones for an object lie near its centre."""

import functools
from dataclasses import dataclass

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator, MlvlPointGenerator
from torch import Tensor


@dataclass(frozen=True)
class GridLevel:
    """One level of a pyramid: the same shapes around the centre of each cell.

    Attributes:
        height: Rows of cells.
        width: Columns of cells.
        stride: Distance of neighbouring centres in pixels, (x, y).
        centre: Centre of the first cell in pixels, (x, y).
        shapes: Width and height of the anchors around a centre, shape (S, 2); 0 for points.
        first: Index of the level's first anchor among those of the image.
    """

    height: int
    width: int
    stride: tuple[float, float]
    centre: tuple[float, float]
    shapes: Tensor
    first: int

    def near(self, objects: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """The cells that can be among the ``most`` best of an object, whichever measure is used.

        For a measure that does not grow with the distance of the centres in x or in y, the cell of the i-th
        nearest column and the j-th nearest row is at most as good as i x j - 1 others of its shape; those
        with i x j > ``most`` are not needed. That leaves about ``most`` x ln(``most``) cells.

        Args:
            objects: Boxes, shape (n, 4), xyxy in pixels.
            most: How many anchors of the level are needed at most, >= 1.

        Returns:
            Indices of the columns near each object, shape (n, min(most, W)), and of the rows, shape (n,
            min(most, H)), both by rising distance; and the cells as pairs of positions in these, shape (2,
            P).
        """
        middle = (objects[:, :2] + objects[:, 2:]) / 2
        columns = _nearest(self.width, (middle[:, 0] - self.centre[0]) / self.stride[0], most)
        rows = _nearest(self.height, (middle[:, 1] - self.centre[1]) / self.stride[1], most)
        return columns, rows, _corner(columns.shape[1], rows.shape[1], most, objects.device)

    def every_cell(self, objects: int) -> tuple[Tensor, Tensor]:
        """All columns and all rows, repeated for each object: shapes (n, W) and (n, H)."""
        device = self.shapes.device
        columns, rows = torch.arange(self.width, device=device), torch.arange(self.height, device=device)
        return columns.expand(objects, -1), rows.expand(objects, -1)

    def x(self, columns: Tensor) -> Tensor:
        """x of the centres of columns, in pixels."""
        return columns * self.stride[0] + self.centre[0]

    def y(self, rows: Tensor) -> Tensor:
        """y of the centres of rows, in pixels."""
        return rows * self.stride[1] + self.centre[1]

    def index(self, columns: Tensor, rows: Tensor) -> Tensor:
        """Indices of all S anchors of cells among those of the image, shape (..., S)."""
        shapes = len(self.shapes)
        slots = torch.arange(shapes, device=columns.device)
        return self.first + (rows * self.width + columns)[..., None] * shapes + slots


# Kept, because each copy of the shapes to a GPU would wait for it; images come in some hundred sizes.
@functools.lru_cache(maxsize=1024)
def grid_levels(
    generator: AnchorGenerator | MlvlPointGenerator, sizes: tuple[tuple[int, int], ...], device: torch.device
) -> tuple[GridLevel, ...]:
    """The grid of a prior generator over maps of these sizes (height, width)."""
    levels: list[GridLevel] = []
    first = 0
    for index, (height, width) in enumerate(sizes):
        stride = (float(generator.strides[index][0]), float(generator.strides[index][1]))
        if isinstance(generator, AnchorGenerator):
            base = generator.base_anchors[index]
            middle = (base[0, :2] + base[0, 2:]).tolist()
            centre, shapes = (middle[0] / 2, middle[1] / 2), base[:, 2:] - base[:, :2]
        else:
            centre, shapes = (stride[0] * generator.offset, stride[1] * generator.offset), torch.zeros(1, 2)
        levels.append(GridLevel(height, width, stride, centre, shapes.to(device), first))
        first += height * width * len(shapes)
    return tuple(levels)


def grid_anchors(levels: tuple[GridLevel, ...]) -> Tensor:
    """All anchors in the order of mmdet's generator, xyxy in pixels, shape (A, 4)."""
    found = []
    for level in levels:
        columns, rows = level.every_cell(1)
        x, y = level.x(columns[0]), level.y(rows[0])
        centres = torch.stack([x.expand(level.height, -1), y[:, None].expand(-1, level.width)], dim=-1)
        corners = [centres[:, :, None] - level.shapes / 2, centres[:, :, None] + level.shapes / 2]
        found.append(torch.cat(corners, dim=-1).view(-1, 4))
    return torch.cat(found)


def side_overlaps(level: GridLevel, objects: Tensor, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap in pixels of objects with the anchors of columns and of rows, along x and along y.

    Args:
        level: The level.
        objects: Shape (n, 4).
        columns: Shape (n, I).
        rows: Shape (n, J).

    Returns:
        Shapes (n, I, S) and (n, J, S).
    """
    half = level.shapes / 2
    x, y = level.x(columns)[..., None], level.y(rows)[..., None]
    x1, y1, x2, y2 = objects[:, :, None, None].unbind(dim=1)
    across = torch.minimum(x2, x + half[:, 0]) - torch.maximum(x1, x - half[:, 0])
    down = torch.minimum(y2, y + half[:, 1]) - torch.maximum(y1, y - half[:, 1])
    return across.clamp(min=0), down.clamp(min=0)


def total_areas(level: GridLevel, objects: Tensor) -> Tensor:
    """Area of each object plus that of each shape, positive, shape (n, S)."""
    own = (objects[:, 2:] - objects[:, :2]).clamp(min=0).prod(dim=1)
    return own[:, None] + level.shapes.prod(dim=1)


def cell_overlaps(level: GridLevel, objects: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """IoU of objects with the anchors that can be among their ``most`` best of a level.

    Returns:
        IoU and index among the image's anchors, both of shape (n, P x S).
    """
    columns, rows, (i, j) = level.near(objects, most)
    across, down = side_overlaps(level, objects, columns, rows)
    common = across[:, i] * down[:, j]
    iou = common / (total_areas(level, objects)[:, None] - common)
    return iou.flatten(1), level.index(columns[:, i], rows[:, j]).flatten(1)


def _nearest(cells: int, position: Tensor, most: int) -> Tensor:
    """The cells of a line nearest to positions (n,), in units of cells, by rising distance."""
    count = min(most, cells)
    start = (position - count / 2).ceil().clamp(0, cells - count).long()
    window = start[:, None] + torch.arange(count, device=position.device)
    order = (window - position[:, None]).abs().argsort(dim=1, stable=True)
    return window.gather(1, order)


# Kept on its device for the same reason as the levels.
@functools.lru_cache(maxsize=1024)
def _corner(columns: int, rows: int, most: int, device: torch.device) -> Tensor:
    """Pairs (i, j), counted from 0, with (i + 1) x (j + 1) <= most, shape (2, P)."""
    i, j = torch.arange(1, columns + 1), torch.arange(1, rows + 1)
    return (i[:, None] * j <= most).nonzero().t().to(device)
