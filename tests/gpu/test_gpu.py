"""What only a GPU can show: mmcv's operators, losses beside a CPU's, waits, FAST, two runs on one GPU."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from core_methods import CORE, built, first_batch, losses_of, small_config
from mmcv.ops import ModulatedDeformConv2d, batched_nms, nms, roi_align
from training_runs import MakeRun, write_run

from suite.files import read_json, read_json_lines
from suite.runs.fast import make_fast
from suite.training import AsynchronousOptimWrapper

pytestmark = pytest.mark.gpu

WITHOUT_WAITS = ("ltm", "ltm_af", "paa")
"""Methods whose losses ask the GPU for no value; the others' assigners are mmdet's, or count pairs."""


def _boxes(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * 200
    return torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 80 + 2], dim=1)


def test_nms_is_the_cpus() -> None:
    boxes, scores = _boxes(3000), torch.rand(3000, generator=torch.Generator().manual_seed(1))
    kept = nms(boxes, scores, 0.5)[1]
    assert torch.equal(nms(boxes.cuda(), scores.cuda(), 0.5)[1].cpu(), kept)
    labels = torch.arange(3000) % 5
    settings = {"type": "nms", "iou_threshold": 0.5}
    one = batched_nms(boxes, scores, labels, settings)[1]
    assert torch.equal(batched_nms(boxes.cuda(), scores.cuda(), labels.cuda(), settings)[1].cpu(), one)


def test_roi_align_and_deformable_convolution_are_the_cpus() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 8, 40, 40, generator=generator)
    rois = torch.cat([torch.tensor([[0.0], [1.0]]).repeat(10, 1), _boxes(20) / 8], dim=1)
    on_cpu = roi_align(maps, rois, 7, 0.5, 0, "avg", True)
    on_gpu = roi_align(maps.cuda(), rois.cuda(), 7, 0.5, 0, "avg", True)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-4, atol=1e-4)
    layer = ModulatedDeformConv2d(8, 8, 3, padding=1)
    given = (maps, torch.randn(2, 18, 40, 40, generator=generator), torch.rand(2, 9, 40, 40))
    torch.testing.assert_close(
        layer.cuda()(*(one.cuda() for one in given)).cpu(), layer.cpu()(*given), rtol=1e-3, atol=1e-3
    )


@pytest.fixture
def without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("method", CORE)
def test_losses_and_gradients_are_the_cpus(method: str, dataset: Path, without_tf32: None) -> None:
    config = small_config(method, dataset)
    found = []
    for device in ("cpu", "cuda"):
        model = built(config, device)
        total, terms = losses_of(model, first_batch(config))
        total.backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
        found.append(({name: float(value) for name, value in terms.items()}, float(norm)))
    (terms, norm), (other_terms, other_norm) = found
    assert other_terms == pytest.approx(terms, rel=2e-3)
    assert other_norm == pytest.approx(norm, rel=1e-2)


def _wrapper(config: dict[str, Any], model: Any) -> AsynchronousOptimWrapper:
    from mmengine.config import ConfigDict
    from mmengine.optim import build_optim_wrapper

    settings = {**config["optim_wrapper"], "type": "AsynchronousOptimWrapper"}
    return build_optim_wrapper(model, ConfigDict(settings))


@pytest.mark.parametrize("method", WITHOUT_WAITS)
def test_a_step_never_waits_for_the_gpu(method: str, dataset: Path) -> None:
    """Preprocessing, losses, gradients, clipping and optimizer, in the third step: tables are there."""
    config = small_config(method, dataset)
    model = built(config, "cuda")
    wrapper = _wrapper(config, model)
    for _ in range(2):
        model.train_step(first_batch(config), wrapper)
    batch = first_batch(config)
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            model.train_step(batch, wrapper)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [f"{one.filename}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]
    assert not waits, waits


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("method", CORE)
def test_fast_steps_are_finite_and_near_the_exact_ones(method: str, compiled: bool, dataset: Path) -> None:
    exact, fast = small_config(method, dataset), small_config(method, dataset)
    make_fast(fast)
    fast["fast"]["compile"] = compiled
    losses = []
    for config in (exact, fast):
        model = built(config, "cuda")
        wrapper = _wrapper(config, model)
        steps = [model.train_step(first_batch(config), wrapper)["loss"] for _ in range(3)]
        assert all(bool(loss.isfinite()) and loss.dtype == torch.float32 for loss in steps)
        losses.append(float(steps[0]))
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("fast", [False, True])
def test_two_runs_share_a_gpu(fast: bool, dataset: Path, tmp_path: Path) -> None:
    processes, runs = [], []
    for name in ("one", "two"):
        config = small_config("ltm", dataset)
        if fast:
            make_fast(config)
            config["fast"]["compile"] = False
        runs.append(write_run(tmp_path / name, config))
        command = [sys.executable, "-m", "suite.training.worker", str(runs[-1])]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    for process in processes:
        text = process.communicate(timeout=300)[0]
        assert process.returncode == 0, text
    for run in runs:
        lines = [line for line in read_json_lines(run / "metrics.jsonl") if "loss" in line]
        assert lines[-1]["step"] == 3
        assert read_json(run / "result.json")["peak_memory_mb"] > 1
        assert read_json(run / "environment.json")["training"][0]["hardware"]["gpus"]


def test_a_run_on_a_gpu_resumes_at_its_checkpoint(make_run: MakeRun) -> None:
    """The weights of a run that was stopped after two epochs, beside one that was not."""
    from suite.training import worker

    whole, parted = make_run("whole"), make_run("parted")
    assert worker.main([str(whole)]) == 0
    source = (parted / "config.py").read_text()
    (parted / "config.py").write_text(source.replace("'max_epochs': 3", "'max_epochs': 2"))
    assert worker.main([str(parted)]) == 0
    (parted / "config.py").write_text(source)
    assert worker.main([str(parted)]) == 0
    states = [
        torch.load(run / "checkpoints" / "latest.pth", map_location="cpu", weights_only=False)["state_dict"]
        for run in (whole, parted)
    ]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-2, atol=1e-3)
