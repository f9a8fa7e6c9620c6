"""AP while training: what is written, and that the training does not notice."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from training_runs import MakeRun

from suite.evaluation.coco_ap import evaluate
from suite.evaluation.ground_truth import GroundTruth
from suite.files import read_json_lines
from suite.telemetry import ValidationHook, validation
from suite.telemetry.observation import evaluating, random_numbers_of_its_own
from suite.training import worker

HOOK = {"type": "ValidationHook", "images": 6}


def _with_hook(config: dict[str, Any], **settings: Any) -> None:
    config["custom_hooks"].append({**HOOK, **settings})


def _validated(run: Path) -> list[dict[str, Any]]:
    return [line for line in read_json_lines(run / "metrics.jsonl") if "val_AP" in line]


def test_a_training_with_it_is_the_same_to_the_bit(make_run: MakeRun) -> None:
    plain, watched = make_run("plain"), make_run("watched", _with_hook)
    for run in (plain, watched):
        assert worker.main([str(run)]) == 0
    weights = [torch.load(run / "checkpoints" / "latest.pth", weights_only=False) for run in (plain, watched)]
    states = [checkpoint["state_dict"] for checkpoint in weights]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    momenta = [checkpoint["optimizer"]["state"] for checkpoint in weights]
    assert all(
        torch.equal(momenta[0][key]["momentum_buffer"], momenta[1][key]["momentum_buffer"])
        for key in momenta[0]
    )
    losses = [
        [line["loss"] for line in read_json_lines(run / "metrics.jsonl") if "loss" in line]
        for run in (plain, watched)
    ]
    assert losses[0] == losses[1]
    assert (plain / "detections.parquet").read_bytes() == (watched / "detections.parquet").read_bytes()
    assert not _validated(plain)


def test_a_line_an_epoch_and_the_last_is_the_ap_of_the_whole_small_split(
    make_run: MakeRun, dataset: Path
) -> None:
    run = make_run(change=_with_hook)
    assert worker.main([str(run)]) == 0
    lines = _validated(run)
    assert [(line["step"], line["epoch"]) for line in lines] == [(3, 1), (6, 2), (9, 3)]
    assert all(set(line) == {"step", "epoch", "val_AP", "time"} for line in lines)
    # All six images of the split: the AP that the finished run is reported with.
    found = pd.read_parquet(run / "detections.parquet")
    expected = evaluate(GroundTruth.load(dataset / "val.json"), found).metrics["AP"]
    assert lines[-1]["val_AP"] == pytest.approx(expected, abs=1e-6)


def test_some_images_and_some_epochs(make_run: MakeRun) -> None:
    run = make_run(change=lambda config: _with_hook(config, images=2, interval=2))
    assert worker.main([str(run)]) == 0
    assert [line["epoch"] for line in _validated(run)] == [2, 3]


def _at_several_scales(config: dict[str, Any]) -> None:
    _with_hook(config)
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")
    config["test_dataloader"]["dataset"]["pipeline"][1:] = [
        {
            "type": "TestTimeAug",
            "transforms": [
                [{"type": "Resize", "scale": (size, size), "keep_ratio": True} for size in (48, 64, 80)],
                [{"type": "RandomFlip", "prob": 0.0}, {"type": "RandomFlip", "prob": 1.0}],
                [{"type": "PackDetInputs", "meta_keys": keys}],
            ],
        }
    ]
    config["test_cfg"] = {"type": "MultiScaleLoop"}


def test_a_run_that_is_tested_at_several_scales_validates_at_the_middle_one(make_run: MakeRun) -> None:
    several, one = make_run("several", _at_several_scales), make_run("one", _with_hook)
    for run in (several, one):
        assert worker.main([str(run)]) == 0
    values = [[line["val_AP"] for line in _validated(run)] for run in (several, one)]
    assert values[0] == values[1]  # 64 pixels, as without scales


def test_an_interrupted_training_writes_each_line_once(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, whole = make_run("cut", _with_hook), make_run("whole", _with_hook)
    seen = []
    original = validation.append_line

    def die_after_the_second(path: Path, line: dict[str, Any]) -> None:
        original(path, line)
        seen.append(line)
        if len(seen) == 2:
            raise KeyboardInterrupt  # after the line, before the checkpoint of its epoch

    monkeypatch.setattr(validation, "append_line", die_after_the_second)
    assert worker.main([str(run)]) == 1
    monkeypatch.setattr(validation, "append_line", original)
    assert worker.main([str(run)]) == 0
    assert worker.main([str(whole)]) == 0
    without_time = [[{**line, "time": ""} for line in _validated(path)] for path in (run, whole)]
    assert without_time[0] == without_time[1]


def test_its_time_is_not_time_of_training(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(change=_with_hook)
    clock = SimpleNamespace(skipped=0.0)
    import time

    real = time.perf_counter
    monkeypatch.setattr("suite.training.hooks.time.perf_counter", lambda: real() + clock.skipped)
    measure = validation._Split.average_precision

    def slow(split: Any, model: Any) -> float | None:
        clock.skipped += 1000.0
        return measure(split, model)

    monkeypatch.setattr(validation._Split, "average_precision", slow)
    assert worker.main([str(run)]) == 0
    assert json.loads((run / "result.json").read_text())["train_seconds"] < 1000


def test_only_the_main_process_evaluates(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.fromfile(make_run(change=_with_hook) / "config.py")
    monkeypatch.setattr(validation, "is_main_process", lambda: False)
    hook = ValidationHook()
    hook.after_train_epoch(SimpleNamespace(epoch=0, max_epochs=1, cfg=config))  # no work_dir: would fail
    assert hook.split is None


def test_generators_and_modes_are_put_back(make_run: MakeRun) -> None:
    run = make_run()
    config = Config.fromfile(run / "config.py")
    config.work_dir = str(run)
    model = RUNNERS.build(config).model
    model.train()
    model.backbone.bn1.eval()
    flags = [module.training for module in model.modules()]
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    with random_numbers_of_its_own("validation", 0), evaluating(model):
        drawn = (random.random(), np.random.rand(), float(torch.rand(1)))
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == flags
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    with random_numbers_of_its_own("validation", 0):
        assert drawn == (random.random(), np.random.rand(), float(torch.rand(1)))
