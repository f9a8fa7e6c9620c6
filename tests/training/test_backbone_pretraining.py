"""A small backbone pretrained on single shapes: the same to the bit, whole or absent, and it learns."""

import subprocess
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from rich.console import Console

from suite import pretrained
from suite.runs.weights import WeightStore, weights_named
from suite.training.backbone_pretraining import pretrain, write_pretrained
from suite.training.pretrained import check_fit

NAME = "shapes://resnet18_quarter"
BACKBONE = dict(weights_named(NAME).backbone)


def test_it_repeats_to_the_bit_and_does_not_see_the_caller(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first, _ = pretrain(BACKBONE, steps=2)
    torch.manual_seed(2)
    second, _ = pretrain(BACKBONE, steps=2)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_file_fits_the_backbone_and_says_what_it_is(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    write_pretrained(store.path(NAME), BACKBONE, weights_named(NAME).identity, steps=1)
    check_fit(MODELS.build(BACKBONE), store.path(NAME))
    assert store.missing([NAME]) == {}
    assert [path.name for path in tmp_path.iterdir()] == [store.path(NAME).name]


def test_what_fails_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nMemoryError: no memory\n")

    monkeypatch.setattr(subprocess, "run", fail)
    store = WeightStore(tmp_path / "weights")
    failed = pretrained.provide(store, [NAME], Console(quiet=True))
    assert failed == {NAME: "cannot be made: MemoryError: no memory"}
    assert not store.path(NAME).exists()


@pytest.mark.slow
def test_it_learns_to_tell_the_shapes_apart(tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "weights")
    assert pretrained.provide(store, [NAME], Console(quiet=True)) == {}
    file = torch.load(store.path(NAME), weights_only=True)
    assert file["meta"]["recognised"] > 0.85
