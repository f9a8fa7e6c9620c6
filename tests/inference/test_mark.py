"""A training evaluated at a share of its schedule: the kept checkpoint, not the last one."""

from typing import Any

import pandas as pd
import pytest
import torch
from training_runs import MakeRun

from suite.files import read_json
from suite.runs.directory import RunDirectory
from suite.runs.sharing import take_over
from suite.training import worker


def _keeping(config: dict[str, Any]) -> None:
    config["default_hooks"]["checkpoint"] = {"type": "LatestCheckpointHook", "keep": [0.34]}
    config["test_cfg"] = {"type": "MarkLoop", "mark": None}
    config["model"]["test_cfg"]["score_thr"] = 0.001


def _marked(config: dict[str, Any]) -> None:
    _keeping(config)
    config["test_cfg"]["mark"] = 0.34


def _lost(config: dict[str, Any]) -> None:
    _keeping(config)
    config["test_cfg"]["mark"] = 0.7


def test_the_kept_checkpoint_is_evaluated_with_one_training(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_run(change=_keeping)
    assert worker.main([str(whole)]) == 0
    kept = torch.load(whole / "checkpoints" / "epoch_1.pth", weights_only=False)
    assert kept["meta"]["epoch"] == 1
    marked = make_run("marked", change=_marked)
    take_over(RunDirectory(whole), RunDirectory(marked))
    assert worker.main([str(marked)]) == 0
    assert "evaluating the checkpoint of epoch 1 of 3" in capsys.readouterr().out
    assert read_json(marked / "result.json")["trained_by"] == whole.name
    one, two = (pd.read_parquet(run / "detections.parquet")["score"] for run in (whole, marked))
    assert len(one) != len(two) or (one - two).abs().max() > 0

    lost = make_run("lost", change=_lost)
    take_over(RunDirectory(whole), RunDirectory(lost))
    assert worker.main([str(lost)]) == 1
    assert "epoch_2.pth: the training kept no checkpoint of epoch 2 of 3" in capsys.readouterr().out
