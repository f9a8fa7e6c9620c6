"""The objects of a batch, in one list over its images."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor


def collect(batch_gt_instances: list[InstanceData], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The objects of a batch, one after the other.

    Args:
        batch_gt_instances: ``bboxes`` and ``labels`` of each image; may be empty.
        device: Where the maps are.

    Returns:
        Image (n,), box (n, 4) in float32 and class (n,) of each object. A box without width or height, which
        no prediction can encode, is widened to a hundredth of a pixel.
    """
    images = torch.cat(
        [torch.full((len(one),), image, device=device) for image, one in enumerate(batch_gt_instances)]
    )
    boxes = torch.cat([instances.bboxes.float().reshape(-1, 4) for instances in batch_gt_instances])
    boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 0.01)], dim=1)
    return images, boxes, torch.cat([instances.labels for instances in batch_gt_instances])
