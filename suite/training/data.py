"""Image order and augmentations that depend on the seed, the epoch and the image, and on nothing else.

Two methods with the same seed see the same images in the same order with the same augmentations, whatever
they draw at random themselves, however many loader workers there are, and after any interruption.
"""

from collections.abc import Iterator
from typing import Any

import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from suite.errors import SuiteError
from suite.training.seeding import derived_seed, temporary_seed


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler):
    """Shuffles by (seed, epoch); yields ``epoch * len(dataset) + index``, so the dataset knows the epoch.

    With several processes each takes every ``world_size``-th image of the same order; the order is padded
    from its beginning so that all take the same number.

    Args:
        dataset: The dataset, already filtered. It must decode the yielded numbers
            (:class:`SeededCocoDataset`).
        seed: Seed of the run.
    """

    def __init__(self, dataset: "SeededCocoDataset", seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        self.epoch = 0
        self.rank, self.world_size = get_dist_info()

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        generator = torch.Generator()
        generator.manual_seed(derived_seed("order", self.seed, self.epoch))
        order = torch.randperm(size, generator=generator).tolist()
        total = len(self) * self.world_size
        padded = (order * (total // size + 1))[:total]
        first = self.epoch * size
        return iter([first + index for index in padded[self.rank :: self.world_size]])

    def __len__(self) -> int:
        """Images that one process sees in an epoch."""
        return -(-len(self.dataset) // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) of the next iteration; mmengine's DistSamplerSeedHook calls it."""
        self.epoch = epoch


@DATASETS.register_module()
class SeededCocoDataset(CocoDataset):
    """mmdet's COCO dataset with augmentations drawn from (seed, epoch, index).

    Item ``epoch * len(self) + index`` is image ``index`` as epoch ``epoch`` (from 0) sees it; plain indices
    are epoch 0.

    Args:
        *args: As for :class:`mmdet.datasets.CocoDataset`.
        seed: Seed of the run; needed unless ``test_mode``.
        **kwargs: As for :class:`mmdet.datasets.CocoDataset`.

    Raises:
        SuiteError: ``seed`` is missing in a dataset to train on, or no image is left after filtering.
    """

    def __init__(self, *args: Any, seed: int | None = None, **kwargs: Any) -> None:
        self.seed = seed
        super().__init__(*args, **kwargs)
        if seed is None and not self.test_mode:
            raise SuiteError("train_dataloader.dataset.seed: missing; expected the run's seed.")

    def filter_data(self) -> list[dict[str, Any]]:
        """The images that ``filter_cfg`` keeps."""
        kept: list[dict[str, Any]] = super().filter_data()
        if not kept:
            raise SuiteError(
                f"{self.ann_file}: no image left to use (filter_cfg={self.filter_cfg}).",
                "Check that its category names are the config's metainfo.classes.",
            )
        return kept

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Annotations of the image that ``idx`` (with or without an epoch) stands for."""
        return super().get_data_info(idx % len(self))

    def __getitem__(self, idx: int) -> dict[str, Any]:
        epoch, index = divmod(idx, len(self))
        with temporary_seed(derived_seed("augmentation", self.seed, epoch, index)):
            return super().__getitem__(index)
