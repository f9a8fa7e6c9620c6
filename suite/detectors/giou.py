"""GIoU of boxes given as distances from a common point, the localisation loss of LTM-AF."""

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn


def stride_giou(predicted: Tensor, target: Tensor) -> Tensor:
    """GIoU of two boxes seen from one point, with 1 added to every width and height.

    Distances are in units of the point's stride, so the added 1, a pixel in older detection code, is a whole
    stride here. It softens the loss of small boxes; the released code of LTM-AF has it and its weight 5.5 is
    tuned with it.

    Args:
        predicted: Distances (left, top, right, bottom) >= 0 in strides, shape (..., 4).
        target: Same for the object, shape (..., 4); negative where the point lies outside the object.

    Returns:
        GIoU in (-1, 1], shape (...).
    """
    inner = torch.minimum(predicted, target)
    outer = torch.maximum(predicted, target)
    overlap = _area((inner[..., :2] + inner[..., 2:]).clamp(min=0))
    hull = _area((outer[..., :2] + outer[..., 2:]).clamp(min=0))
    own = _area(predicted[..., :2] + predicted[..., 2:])
    union = own + _area(target[..., :2] + target[..., 2:]) - overlap
    return overlap / union - (hull - union) / hull


def _area(sides: Tensor) -> Tensor:
    return (sides + 1).prod(dim=-1)


@MODELS.register_module()
class StrideGIoULoss(nn.Module):
    """``loss_weight`` x (1 - GIoU) of distances in strides; see :func:`stride_giou`.

    Args:
        loss_weight: LTM-AF's beta, 5.5 in its released configs.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Loss of each box, in [0, 2 x loss_weight); shapes (..., 4) to (...)."""
        return self.loss_weight * (1 - stride_giou(predicted, target))
