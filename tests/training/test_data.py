"""Image order and augmentations depend on the seed, the epoch and the image alone."""

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from training_runs import run_config

import suite.training  # noqa: F401
from suite.errors import SuiteError
from suite.training.data import EpochSampler


@pytest.fixture(autouse=True)
def _scope() -> None:
    if not DefaultScope.check_instance_created("test"):
        DefaultScope.get_instance("test", scope_name="mmdet")


def _loader(dataset: Path, seed: int = 0, **changes: Any) -> Any:
    config = copy.deepcopy(run_config(dataset, seed=seed)["train_dataloader"])
    config.update(changes)
    return Runner.build_dataloader(config, seed=seed)


def _epoch(loader: Any, epoch: int) -> list[tuple[int, tuple[int, ...], float]]:
    """Image id, shape and sum of pixels of everything that an epoch yields, in order."""
    sampler = getattr(loader.batch_sampler, "sampler", None) or loader.sampler
    sampler.set_epoch(epoch)
    return [
        (sample.img_id, tuple(image.shape), float(image.double().sum()) + sample.flip * 0.5)
        for batch in loader
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True)
    ]


def test_workers_and_global_random_state_change_nothing(dataset: Path) -> None:
    reference = _epoch(_loader(dataset), 1)
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    for workers in (0, 2):
        assert _epoch(_loader(dataset, num_workers=workers), 1) == reference
    persistent = _loader(dataset, num_workers=1, persistent_workers=True)
    _epoch(persistent, 0)
    assert _epoch(persistent, 1) == reference


def test_batch_size_and_grouping_by_aspect_ratio_keep_the_augmentations(dataset: Path) -> None:
    reference = _epoch(_loader(dataset), 2)
    grouped = _loader(dataset, batch_sampler={"type": "AspectRatioBatchSampler"}, batch_size=3)
    assert sorted(_epoch(grouped, 2)) == sorted(reference)


def test_epochs_and_seeds_differ(dataset: Path) -> None:
    first, second, other = (_epoch(_loader(dataset, seed), epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0)))
    images = [[item[0] for item in epoch] for epoch in (first, second, other)]
    assert sorted(images[0]) == sorted(images[1]) == list(range(1, 13))
    assert images[0] != images[1] != images[2] != images[0]
    assert sorted(first) != sorted(second)


def test_the_random_state_around_an_item_is_put_back(dataset: Path) -> None:
    data = _loader(dataset).dataset
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    data[5]
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])


def test_processes_divide_an_epoch(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _loader(dataset).dataset
    whole = list(EpochSampler(data, seed=4))
    parts = []
    for rank in range(5):
        monkeypatch.setattr("suite.training.data.get_dist_info", lambda rank=rank: (rank, 5))
        parts.append(list(EpochSampler(data, seed=4)))
    assert {len(part) for part in parts} == {3}
    assert [code for step in zip(*parts, strict=True) for code in step] == whole + whole[:3]


def test_a_forgotten_seed_and_an_empty_dataset_are_named(dataset: Path) -> None:
    config = run_config(dataset)["train_dataloader"]
    del config["dataset"]["seed"]
    with pytest.raises(SuiteError, match=r"train_dataloader\.dataset\.seed"):
        Runner.build_dataloader(config, seed=0)
    config["dataset"].update(seed=0, metainfo={"classes": ("zebra",)})
    with pytest.raises(SuiteError, match="no image left"):
        Runner.build_dataloader(config, seed=0)
