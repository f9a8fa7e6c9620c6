"""Points and distances in units of the stride, so that LTM-AF's boxes decode with mmdet's own inference."""

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders import BaseBBoxCoder
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import distance2bbox
from torch import Tensor


@TASK_UTILS.register_module()
class StridePointGenerator(MlvlPointGenerator):
    """Points at (i + 0.5) x stride, each with its stride: (x, y, stride, stride)."""

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        with_stride: bool = True,
    ) -> list[Tensor]:
        """One tensor (H x W, 4) per level; with strides by default, as mmdet's inference does not ask."""
        return super().grid_priors(featmap_sizes, dtype, device, with_stride)


@TASK_UTILS.register_module()
class StrideDistanceBBoxCoder(BaseBBoxCoder):
    """Boxes as distances (left, top, right, bottom) from a point in units of the point's stride."""

    def encode(self, points: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Distances in strides to the sides of xyxy boxes; negative where the point is outside.

        Args:
            points: Shape (..., 4): x, y, stride, stride.
            gt_bboxes: Shape (..., 4), broadcastable, in pixels.
        """
        xy = points[..., :2]
        distances = torch.cat([xy - gt_bboxes[..., :2], gt_bboxes[..., 2:] - xy], dim=-1)
        return distances / points[..., 2:3]

    def decode(self, points: Tensor, distances: Tensor, max_shape: Sequence[int] | None = None) -> Tensor:
        """xyxy boxes in pixels, clipped to ``max_shape`` (height, width) if given.

        Args:
            points: Shape (..., 4): x, y, stride, stride.
            distances: Shape (..., 4), in strides.
            max_shape: Height and width of the image.
        """
        return distance2bbox(points[..., :2], distances * points[..., 2:3], max_shape)
