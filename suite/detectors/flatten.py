"""From mmdet's maps of each level to one row per anchor."""

import torch
from torch import Tensor


def flatten_levels(maps: list[Tensor], channels: int) -> Tensor:
    """Maps per level, each (images, anchors x channels, H, W), as one float32 tensor (images x A, channels).

    A counts the anchors of all levels; their order is that of the prior generator.
    """
    images = len(maps[0])
    rows = [level.float().permute(0, 2, 3, 1).reshape(images, -1, channels) for level in maps]
    return torch.cat(rows, dim=1).flatten(0, 1)
