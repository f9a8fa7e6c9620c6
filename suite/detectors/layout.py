"""Where the score of an (image, anchor, class) stands in mmdet's maps, which need no copy to look it up."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScoreLayout:
    """The score maps of a batch: one a level, each (images, anchors a location x classes, H, W).

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
        """The layout of these maps of ``classes`` scores an anchor."""
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
        ends = torch.tensor(self.anchors_of_levels, device=anchors.device).cumsum(dim=0)
        return torch.bucketize(anchors, ends, right=True)

    def pairs(self, images: Tensor, anchors: Tensor, labels: Tensor) -> Tensor:
        """Position of each (anchor, class) pair in the maps, laid one behind the other as they are stored.

        Args:
            images: Index of the image.
            anchors: Index into the image's anchors.
            labels: Class, in [0, C).

        Returns:
            Distinct for distinct pairs, of the broadcast shape of the arguments.
        """
        device = anchors.device
        counts = self.anchors_of_levels
        first = torch.tensor([sum(counts[:level]) for level in range(len(counts))], device=device)
        cells = torch.tensor([height * width for height, width in self.sizes], device=device)
        level = self.level_of(anchors)
        inside = anchors - first[level]
        location, slot = inside.div(self.per_location, rounding_mode="floor"), inside % self.per_location
        channel = (images * self.per_location + slot) * self.classes + labels
        return first[level] * (self.images * self.classes) + channel * cells[level] + location
