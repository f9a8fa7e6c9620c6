"""FAST: the network in bfloat16, the losses in float32, and nearly the same numbers."""

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from core_methods import CORE, built, first_batch, losses_of, small_config
from mmcv.ops import ModulatedDeformConv2d
from torch import nn
from training_runs import write_run

from suite.files import read_json, read_json_lines
from suite.runs.fast import make_fast
from suite.training import FastModel, worker


def _fast(method: str, root: Path, **changes: Any) -> dict[str, Any]:
    config = small_config(method, root)
    make_fast(config)
    config["fast"].update(changes)
    return config


def test_it_stands_in_the_config_and_off_by_default(dataset: Path) -> None:
    exact, fast = small_config("ltm", dataset), _fast("ltm", dataset)
    assert "fast" not in exact and "fused" not in exact["optim_wrapper"]["optimizer"]
    assert fast["fast"]["dtype"] == "bfloat16" and fast["optim_wrapper"]["optimizer"]["fused"]
    assert fast["train_dataloader"]["num_workers"] >= 4
    assert fast["model"] == exact["model"]


@pytest.mark.parametrize("method", CORE)
def test_losses_see_float32_and_are_nearly_those_of_exact_training(method: str, dataset: Path) -> None:
    exact = built(small_config(method, dataset))
    fast = built(_fast(method, dataset, compile=False))
    for one, two in zip(exact.parameters(), fast.parameters(), strict=True):
        assert torch.equal(one, two), "both start from the same weights"
    convolution = next(module for module in fast.backbone.modules() if isinstance(module, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)

    maps, inside = [], []
    loss_by_feat = fast.bbox_head.loss_by_feat

    def seen(*args: Any, **kwargs: Any) -> Any:
        maps.extend(level for part in args[:3] for level in part if isinstance(level, torch.Tensor))
        assert not torch.is_autocast_enabled("cpu")
        return loss_by_feat(*args, **kwargs)

    fast.bbox_head.loss_by_feat = seen
    hook = convolution.register_forward_hook(lambda module, given, found: inside.append(found.dtype))
    config = small_config(method, dataset)
    (total, terms), (near, near_terms) = (losses_of(model, first_batch(config)) for model in (exact, fast))
    hook.remove()
    assert maps and {level.dtype for level in maps} == {torch.float32}
    assert inside == [torch.bfloat16], "the network did compute in bfloat16"
    assert near.dtype == torch.float32 and terms.keys() == near_terms.keys()
    assert not torch.equal(total, near)
    assert near.item() == pytest.approx(total.item(), rel=0.05)
    total.backward()
    near.backward()
    norms = [
        torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm().item()
        for model in (exact, fast)
    ]
    assert norms[1] == pytest.approx(norms[0], rel=0.1)


@pytest.mark.parametrize("method", ["ltm", pytest.param("atss", marks=pytest.mark.slow)])
def test_a_fast_run_trains_resumes_and_is_evaluated_in_float32(
    method: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _fast(method, dataset, compile=False)
    config["train_dataloader"]["num_workers"] = 1
    run = write_run(tmp_path / "run", config)
    assert worker.main([str(run)]) == 0
    losses = [line["loss"] for line in read_json_lines(run / "metrics.jsonl") if "loss" in line]
    assert len(losses) == 2 and all(loss < 100 for loss in losses)
    assert read_json(run / "result.json")["steps"] == 3
    weights = torch.load(run / "checkpoints" / "latest.pth", weights_only=False)["state_dict"]
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
    assert weights.keys() == built(small_config(method, dataset)).state_dict().keys()


def test_a_detector_in_evaluation_casts_nothing_and_a_copy_has_its_own_weights(dataset: Path) -> None:
    model = built(_fast("retinanet", dataset, compile=False)).eval()
    image = torch.randn(1, 3, 64, 64)
    assert {level.dtype for level in model.extract_feat(image)} == {torch.float32}
    twin = copy.deepcopy(model).train()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
        assert all(not level.any() for level in twin.extract_feat(image))


def test_operators_of_mmcv_compute_in_float32() -> None:
    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.operator = ModulatedDeformConv2d(4, 4, 3, padding=1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = self.first(image)
            assert x.dtype == torch.bfloat16
            return self.operator(x, x.new_zeros(1, 18, 8, 8), x.new_ones(1, 9, 8, 8))

    model = nn.Module()
    model.backbone = Backbone()
    FastModel(compile=True).prepare(model)
    found = model.train().backbone(torch.randn(1, 3, 8, 8))
    assert found.dtype == torch.float32
    found.sum().backward()


def test_the_compiled_network_gives_nearly_the_same(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the graphs that torch.compile finds, but without the kernels it writes: those take minutes."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    plain, compiled = (built(_fast("retinanet", dataset, compile=compile)) for compile in (False, True))
    for size in (64, 96):
        image = torch.randn(2, 3, size, size)
        for one, two in zip(plain.extract_feat(image), compiled.extract_feat(image), strict=True):
            torch.testing.assert_close(one, two)
    sum(level.sum() for level in compiled.extract_feat(image)).backward()
    assert compiled.backbone.conv1.weight.grad is not None
