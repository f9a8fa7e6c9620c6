"""Image order and augmentations that depend on the seed, the epoch and the image, and on nothing else.

Two methods with the same seed see the same images in the same order with the same augmentations, whatever
they draw at random themselves, however many loader workers there are, and after any interruption.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from suite.errors import SuiteError
from suite.training.annotations import read_boxes
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
    """mmdet's COCO dataset with augmentations drawn from (seed, epoch, index), and boxes without polygons.

    Item ``epoch * len(self) + index`` is image ``index`` as epoch ``epoch`` (from 0) sees it; plain indices
    are epoch 0. Annotations are held in arrays (:mod:`suite.training.annotations`), from which mmdet's own
    entry of an image is made when it is asked for.

    Args:
        *args: As for :class:`mmdet.datasets.CocoDataset`.
        seed: Seed of the run; needed unless ``test_mode``.
        **kwargs: As for :class:`mmdet.datasets.CocoDataset`.

    Raises:
        SuiteError: ``seed`` is missing in a dataset to train on, the annotations are damaged, or no image is
            left after filtering.
    """

    def __init__(self, *args: Any, seed: int | None = None, **kwargs: Any) -> None:
        self.seed = seed
        super().__init__(*args, **kwargs)
        if seed is None and not self.test_mode:
            raise SuiteError("train_dataloader.dataset.seed: missing; expected the run's seed.")

    def full_init(self) -> None:
        """Read the annotations, and choose the images that ``filter_cfg`` keeps."""
        if self._fully_initialized:  # type: ignore[has-type]
            return
        self.annotations = read_boxes(Path(self.ann_file))
        names = self.metainfo["classes"]
        self.cat_ids = [number for number, name in self.annotations.category_names if name in names]
        self.cat2label = {number: label for label, number in enumerate(self.cat_ids)}
        self.rows = self._kept()
        if not len(self.rows):
            raise SuiteError(
                f"{self.ann_file}: no image left to use (filter_cfg={self.filter_cfg}).",
                "Check that its category names are the config's metainfo.classes.",
            )
        if isinstance(self._indices, int):  # the first ones, or the last ones
            self.rows = self.rows[: self._indices] if self._indices >= 0 else self.rows[self._indices :]
        elif self._indices is not None:
            self.rows = self.rows[list(self._indices)]
        self._fully_initialized = True

    def _kept(self) -> np.ndarray:
        """Rows of the images that mmdet's ``filter_data`` keeps."""
        found = self.annotations
        kept = np.ones(len(found.ids), dtype=bool)
        if not self.test_mode and self.filter_cfg is not None:
            kept &= found.sizes.min(axis=1) >= self.filter_cfg.get("min_size", 0)
            if self.filter_cfg.get("filter_empty_gt", False):
                # Crowds and boxes that training ignores make an image count, too.
                ours = np.concatenate([[0], np.cumsum(np.isin(found.categories, self.cat_ids))])
                kept &= ours[found.first[1:]] > ours[found.first[:-1]]
        return np.flatnonzero(kept)

    def __len__(self) -> int:
        """Images after filtering."""
        self.full_init()
        return len(self.rows)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Annotations of the image that ``idx`` (with or without an epoch) stands for."""
        index = idx % len(self)
        row = self.rows[index]
        parts = {
            "raw_img_info": self.annotations.image(row),
            "raw_ann_info": self.annotations.annotations(row),
        }
        info: dict[str, Any] = self.parse_data_info(parts)
        info["sample_idx"] = index
        return info

    def __getitem__(self, idx: int) -> dict[str, Any]:
        epoch, index = divmod(idx, len(self))
        with temporary_seed(derived_seed("augmentation", self.seed, epoch, index)):
            return super().__getitem__(index)
