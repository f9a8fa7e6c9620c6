"""What a training writes: means over all processes, read once per line; telemetry stops its clock."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from core_methods import small_config
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import EpochBasedTrainLoop
from processes import in_processes
from training_runs import MakeRun, write_run
from waits import Waits

from suite.errors import SuiteError
from suite.files import read_json_lines
from suite.training import RunLogHook, worker
from suite.training.hooks import outside_training


def _lines(run: Path) -> list[dict[str, Any]]:
    return [line for line in read_json_lines(run / "metrics.jsonl") if "loss" in line]


@pytest.mark.slow
def test_the_mean_over_two_processes_is_the_loss_of_the_whole_batch(dataset: Path, tmp_path: Path) -> None:
    """ATSS divides by means over all processes; norms that look at a batch are fixed."""

    def config(batch: int) -> dict[str, Any]:
        made = small_config("atss", dataset)
        made["model"]["backbone"]["norm_eval"] = True
        made["env_cfg"]["dist_cfg"] = {"backend": "gloo"}
        made["model_wrapper_cfg"] = {"type": "MMDistributedDataParallel", "device_ids": None}
        made["train_dataloader"]["batch_size"] = batch
        made["custom_hooks"] = [{"type": "RunLogHook", "interval": 1}]
        return made

    alone, together = (
        write_run(tmp_path / name, config(batch)) for name, batch in (("alone", 4), ("two", 2))
    )
    assert worker.main([str(alone)]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "suite.training.worker", str(together), "--launcher", "pytorch"]
    assert subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=400).returncode == 0
    expected, found = _lines(alone), _lines(together)
    assert [line["step"] for line in found] == [line["step"] for line in expected] == [1, 2, 3]
    for one, two in zip(expected, found, strict=True):
        for name in ("loss", "loss_cls", "loss_bbox", "loss_auxiliary"):
            assert two[name] == pytest.approx(one[name], rel=1e-4), (name, one["step"])


def test_a_loss_that_is_not_finite_on_one_process_ends_all_at_its_step(tmp_path: Path) -> None:
    def body(rank: int) -> int:
        torch.distributed.init_process_group("gloo")
        hook = RunLogHook(interval=3)
        hook.metrics_file = tmp_path / "metrics.jsonl"
        runner = SimpleNamespace(iter=0, max_iters=9, epoch=0, max_epochs=1)
        try:
            for step in (1, 2, 3):
                runner.iter = step - 1
                bad = math.nan if (rank, step) == (1, 2) else float(step)
                hook.before_train_iter(runner, step - 1)
                losses = {"loss": torch.tensor(bad), "loss_cls": torch.tensor(bad)}
                hook.after_train_iter(runner, step - 1, None, losses)
        except SuiteError as error:
            return 7 if "step 2 (epoch 1): loss_cls is nan" in str(error) and step == 3 else 8
        return 9

    assert in_processes(body) == [7, 7]


def _runner(run: Path) -> Any:
    config = Config.fromfile(run / "config.py")
    config.work_dir = str(run)
    return RUNNERS.build(config)


@pytest.mark.parametrize("method", ["RetinaNet", "ATSS"])
def test_a_step_waits_for_nothing_but_its_own_loss(
    make_run: MakeRun, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop, its hooks, the clipping of gradients and the optimizer add no wait between two lines."""

    def rare(config: dict[str, Any]) -> None:
        config["custom_hooks"] = [{"type": "RunLogHook", "interval": 1000}]

    runner = _runner(make_run(change=rare, method=method, epochs=1))
    forward, run_iter = runner.model.forward, EpochBasedTrainLoop.run_iter
    steps: list[tuple[int, int]] = []

    def measured(loop: Any, *args: Any) -> None:
        waits, inside = Waits(), [0]

        def counted(*args: Any, **kwargs: Any) -> Any:
            before = waits.total()
            found = forward(*args, **kwargs)
            inside[0] += waits.total() - before
            return found

        runner.model.forward = counted
        with waits:
            run_iter(loop, *args)
        steps.append((inside[0], waits.total() - inside[0]))

    monkeypatch.setattr(EpochBasedTrainLoop, "run_iter", measured)
    runner.train()
    assert all(inside > 0 for inside, _ in steps), "mmdet's assigners do wait"
    # mmengine compares the images' sizes before it pads them: on the CPU, where nothing waits.
    assert [outside for _, outside in steps] == [1, 1, 1]


def test_an_error_that_follows_from_a_diverged_step_is_reported_as_that(make_run: MakeRun) -> None:
    runner = _runner(make_run(change=lambda config: config["custom_hooks"][0].update(interval=1000)))
    step = runner.model.train_step

    def diverge_then_fail(*args: Any, **kwargs: Any) -> Any:
        if runner.iter == 1:
            raise IndexError("index 9 is out of bounds")
        found = step(*args, **kwargs)
        return {name: value * math.nan for name, value in found.items()}

    runner.model.train_step = diverge_then_fail
    with pytest.raises(SuiteError, match=r"step 1: loss_cls is nan; the training has diverged"):
        runner.train()


def test_an_error_of_a_sound_training_stays_what_it_is(make_run: MakeRun) -> None:
    runner = _runner(make_run())

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise IndexError("index 9 is out of bounds")

    runner.model.train_step = fail
    with pytest.raises(IndexError):
        runner.train()


def test_what_is_outside_the_training_counts_into_no_time() -> None:
    hook = RunLogHook(interval=100)
    runner = SimpleNamespace(hooks=[hook], iter=0, max_iters=100)
    hook.mark = time.perf_counter()
    hook.before_train_iter(runner, 0)
    time.sleep(0.02)
    with outside_training(runner):
        time.sleep(0.2)
    hook.after_train_iter(runner, 0, None, {"loss": torch.tensor(1.0)})
    assert 0.02 <= hook.train_seconds < 0.1
    assert hook.sums["step_seconds"] == pytest.approx(hook.train_seconds)
