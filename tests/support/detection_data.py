"""Small heads, maps and objects for the tests of detectors and configs."""

from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

NUM_CLASSES = 3


def instances(boxes: list[list[float]], labels: list[int]) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
    )


def random_instances(generator: torch.Generator, size: int, count: int, num_classes: int) -> InstanceData:
    corner = torch.rand(count, 2, generator=generator) * size * 0.6
    sides = torch.rand(count, 2, generator=generator) * size * 0.35 + 4
    return InstanceData(
        bboxes=torch.cat([corner, corner + sides], dim=1),
        labels=torch.randint(0, num_classes, (count,), generator=generator),
    )


def maps(
    generator: torch.Generator, images: int, channels: int, sizes: list[int], scale: float = 1.0
) -> list[Tensor]:
    """One random leaf a level, (images, channels, size, size)."""
    return [
        (torch.randn(images, channels, size, size, generator=generator) * scale).requires_grad_()
        for size in sizes
    ]


def rows(levels: list[Tensor], channels: int) -> Tensor:
    """(images, A, channels) in float64 by explicit loops over levels, rows, columns and anchors."""
    images = []
    for image in range(len(levels[0])):
        found = []
        for level in levels:
            _, total, height, width = level.shape
            for y in range(height):
                for x in range(width):
                    for anchor in range(total // channels):
                        found.append(level[image, anchor * channels : (anchor + 1) * channels, y, x])
        images.append(torch.stack(found))
    return torch.stack(images).double()


def samples(size: int, counts: list[int], num_classes: int, seed: int = 0) -> list[DetDataSample]:
    """Data samples of square images of ``size`` pixels, shown at half their original size."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for count in counts:
        sample = DetDataSample(metainfo=meta(size))
        sample.gt_instances = random_instances(generator, size, count, num_classes)
        sample.ignored_instances = instances([], [])
        result.append(sample)
    return result


def meta(size: int) -> dict[str, Any]:
    return dict(
        img_shape=(size, size),
        ori_shape=(2 * size, 2 * size),
        pad_shape=(size, size),
        batch_input_shape=(size, size),
        scale_factor=(0.5, 0.5),
    )
