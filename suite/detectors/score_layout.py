"""Where the score of an (image, anchor, class) stands in mmdet's maps, which need no copy to look it up."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScoreLayout:
    """The score maps of a batch: one per level, each (images, anchors per location x classes, H, W).

    Anchors of an image are counted over all levels in the order of mmdet's prior generators: level, row,
    column, anchor at the location.

    Attributes:
        sizes: Height and width of each level, in cells.
        images: Images of the batch.
        per_location: S, anchors at a location.
        classes: C, object classes.
    """

    sizes: tuple[tuple[int, int], ...]
    images: int
    per_location: int
    classes: int

    @classmethod
    def of(cls, cls_scores: list[Tensor], classes: int) -> "ScoreLayout":
        """The layout of these maps of ``classes`` scores per anchor."""
        sizes = tuple((score.shape[-2], score.shape[-1]) for score in cls_scores)
        return cls(sizes, len(cls_scores[0]), cls_scores[0].shape[1] // classes, classes)

    @property
    def anchors(self) -> int:
        """A, anchors of one image."""
        return sum(self.anchors_of_levels)

    @property
    def anchors_of_levels(self) -> list[int]:
        """Anchors of one image on each level."""
        return [height * width * self.per_location for height, width in self.sizes]

    def level_of(self, anchors: Tensor) -> Tensor:
        """Level of each anchor, given by its index into those of an image; any shape."""
        first, _ = _tables(self, anchors.device)
        return torch.bucketize(anchors, first[1:], right=True)

    def pairs(self, images: Tensor, anchors: Tensor, labels: Tensor) -> Tensor:
        """Position of each (anchor, class) pair in the maps, laid one behind the other as they are stored.

        Args:
            images: Index of the image.
            anchors: Index into the image's anchors.
            labels: Class, in [0, C).

        Returns:
            Distinct for distinct pairs, of the broadcast shape of the arguments.
        """
        first, cells = _tables(self, anchors.device)
        level = self.level_of(anchors)
        inside = anchors - first[level]
        location, slot = inside.div(self.per_location, rounding_mode="floor"), inside % self.per_location
        channel = (images * self.per_location + slot) * self.classes + labels
        return first[level] * (self.images * self.classes) + channel * cells[level] + location


# Kept, because each copy of a table to a GPU would wait for it; images come in some hundred sizes.
@functools.lru_cache(maxsize=1024)
def _tables(layout: ScoreLayout, device: torch.device) -> tuple[Tensor, Tensor]:
    """First anchor and number of cells of each level."""
    counts = layout.anchors_of_levels
    first = [sum(counts[:level]) for level in range(len(counts))]
    cells = [height * width for height, width in layout.sizes]
    return torch.tensor(first, device=device), torch.tensor(cells, device=device)
