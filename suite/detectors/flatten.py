"""From mmdet's maps a level and objects an image to the flat tensors that the losses work on."""

from collections.abc import Callable

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from suite.detectors.matching_loss import Bags


def flatten_levels(maps: list[Tensor], channels: int) -> Tensor:
    """Maps a level, each (images, anchors x channels, H, W), as one float32 tensor (images x A, channels).

    A counts the anchors of all levels; their order is that of the prior generator.
    """
    images = len(maps[0])
    rows = [level.float().permute(0, 2, 3, 1).reshape(images, -1, channels) for level in maps]
    return torch.cat(rows, dim=1).flatten(0, 1)


def collect_bags(
    batch_gt_instances: list[InstanceData], n_anchors: int, make_bags: Callable[[Tensor], Tensor]
) -> tuple[Bags, Tensor]:
    """The bags and the boxes of all objects of a batch.

    Args:
        batch_gt_instances: ``bboxes`` and ``labels`` of each image; may be empty.
        n_anchors: A, anchors of one image.
        make_bags: From boxes (n, 4) of one image to indices (n, K) into its anchors.

    Returns:
        Bags of all n objects, indices counting on from image to image; boxes (n, 4), float32.
    """
    boxes = [instances.bboxes.float() for instances in batch_gt_instances]
    members = [make_bags(image) + index * n_anchors for index, image in enumerate(boxes)]
    labels = torch.cat([instances.labels for instances in batch_gt_instances])
    return Bags(torch.cat(members), labels), torch.cat(boxes)
