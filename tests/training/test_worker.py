"""A run from start to result: the same twice, after a kill, after damage; and its messages."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from training_runs import MakeRun

from suite.errors import SuiteError
from suite.files import read_json, read_json_lines
from suite.locks import locked
from suite.runs.directory import RunDirectory
from suite.runs.sharing import take_over
from suite.scheduling import child
from suite.training import worker
from suite.training.checkpoint import read_checkpoint

_TIMES = {"step_seconds", "data_seconds", "train_seconds", "memory_mb", "time"}


def _start(run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "suite.training.worker", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _lines(run: Path) -> list[dict[str, Any]]:
    lines = read_json_lines(run / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in _TIMES} for line in lines]


def _weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run / "checkpoints" / "latest.pth", weights_only=False)
    momenta = checkpoint["optimizer"]["state"]
    return checkpoint["state_dict"] | {
        f"momentum {key}": state["momentum_buffer"] for key, state in momenta.items()
    }


def _assert_same(run: Path, reference: Path) -> None:
    assert _lines(run) == _lines(reference)
    one, two = _weights(run), _weights(reference)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    for name in ("detections.parquet", "coverage.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(run / name), pd.read_parquet(reference / name))


def test_a_finished_run_has_everything(finished_run: Path) -> None:
    run = RunDirectory(finished_run)
    result = run.result()
    assert result is not None
    assert run.result_problem() is None
    assert {"AP", "AP50", "AP75", "APS", "APM", "APL", "AR100", "NR"} <= set(result["metrics"])
    assert len(result["metrics"]) == 12 + 1
    assert result["evaluation"] == {}, "what spec.json asks for, here nothing"
    assert run.is_complete()
    assert result["steps"] == 9
    assert result["train_seconds"] > 0
    assert result["peak_memory_mb"] > 50
    lines = _lines(finished_run)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 9]
    assert lines[-1]["epoch"] == lines[-1]["epochs"] == 3
    assert lines[0]["loss"] == pytest.approx(lines[0]["loss_cls"] + lines[0]["loss_bbox"])
    environments = read_json(run.environment_file)
    trained = environments["training"][0]
    assert trained["from_epoch"] == 0
    assert {"packages", "cuda", "python", "git", "hardware"} <= set(trained)
    assert environments["evaluation"] == {key: trained[key] for key in environments["evaluation"]}
    assert environments["dataset"]["name"] == "rectangles"
    assert {path.name for path in finished_run.iterdir()} == {
        ".lock", "config.py", "spec.json", "environment.json", "metrics.jsonl", "checkpoints",
        "detections.parquet", "coverage.parquet", "result.json",
    }  # fmt: skip


def test_numbers_too_small_for_a_cpu_are_zero() -> None:
    small = "(torch.tensor(1e-38) * torch.tensor(1e-2)).item()"
    program = f"import torch; from suite.training.worker import set_arithmetic as set; a = {small}; set(); "
    program += f"print(a > 0, {small}, torch.get_num_threads())"
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    printed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert printed.stdout.splitlines()[-1] == "True 0.0 3", printed.stderr


def test_a_run_does_without_yapf(make_run: MakeRun) -> None:
    """Its first import writes a cache that a second process reads half written; mmengine wants it to format
    the config."""
    run = make_run()
    code = "import sys; sys.modules['yapf'] = None; from suite.training.worker import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_run_twice_is_the_same_to_the_bit(make_run: MakeRun, finished_run: Path) -> None:
    run = make_run(change=lambda config: config["train_dataloader"].update(num_workers=1))
    torch.manual_seed(7)
    np.random.seed(7)
    assert worker.main([str(run)]) == 0
    _assert_same(run, finished_run)


def test_killed_and_resumed_is_the_same_to_the_bit(make_run: MakeRun, finished_run: Path) -> None:
    """SIGKILL once a checkpoint exists, at a random moment of the rest."""
    run = make_run()
    process = _start(run)
    checkpoint = run / "checkpoints" / "latest.pth"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.2))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run / "result.json").exists()
    assert worker.main([str(run)]) == 0
    _assert_same(run, finished_run)


def test_interrupted_between_lines_and_checkpoints(make_run: MakeRun, finished_run: Path) -> None:
    """Interrupted in epoch 2 after a line was written that the resumed training writes again."""
    run = make_run()

    class Stop(Exception):
        pass

    def stop(hook: Any, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if runner.iter == 5:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("suite.training.hooks.LatestCheckpointHook.after_train_iter", stop, raising=False)
        assert worker.main([str(run)]) == 1
    assert [line["step"] for line in _lines(run)] == [2, 4, 6]
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 7, "lo')
    assert not (run / "result.json").exists()
    assert worker.main([str(run)]) == 0
    _assert_same(run, finished_run)


def test_a_damaged_checkpoint_is_put_aside(
    make_run: MakeRun, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    checkpoint = run / "checkpoints" / "latest.pth"
    checkpoint.parent.mkdir()
    whole = (finished_run / "checkpoints" / "latest.pth").read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    assert worker.main([str(run)]) == 0
    assert "latest.pth.corrupt" in capsys.readouterr().out
    assert (run / "checkpoints" / "latest.pth.corrupt").exists()
    _assert_same(run, finished_run)


def test_somebody_elses_checkpoint_ends_the_run_and_is_left(
    make_run: MakeRun, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    checkpoint = run / "checkpoints" / "latest.pth"
    checkpoint.parent.mkdir()
    weights = torch.load(finished_run / "checkpoints" / "latest.pth", weights_only=False)["state_dict"]
    torch.save({"state_dict": weights, "meta": {"epoch": 12}}, checkpoint)  # as models are published
    before = checkpoint.read_bytes()
    assert worker.main([str(run)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "latest.pth: not a checkpoint of this run" in last and "Move the file away" in last
    assert [path.name for path in checkpoint.parent.iterdir()] == ["latest.pth"]
    assert checkpoint.read_bytes() == before
    assert not (run / "metrics.jsonl").exists()


@pytest.mark.parametrize("log", ["lost", "empty", "cut short"])
def test_a_run_that_lost_its_log_is_evaluated_again(
    log: str, make_run: MakeRun, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    (run / "checkpoints").mkdir()
    shutil.copy(finished_run / "checkpoints" / "latest.pth", run / "checkpoints" / "latest.pth")
    if log != "lost":
        lines = (finished_run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(lines[:3]) if log == "cut short" else "")
    monkeypatch.setattr(Runner, "train", lambda self: pytest.fail("trained again"))
    assert worker.main([str(run)]) == 0
    assert RunDirectory(run).result_problem() is None
    old, new = read_json(finished_run / "result.json"), read_json(run / "result.json")
    assert new["metrics"] == old["metrics"]
    assert new["steps"] == old["steps"]
    assert new["train_seconds"] == pytest.approx(old["train_seconds"], abs=0.01)
    assert (new["step_seconds"], new["peak_memory_mb"]) == (None, None)
    assert ("metrics.jsonl" in new["files"]) == (log != "lost")


def test_a_trained_run_is_only_evaluated(
    make_run: MakeRun, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    for name in ("checkpoints/latest.pth", "metrics.jsonl"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes((finished_run / name).read_bytes())
    RunDirectory(run).write_failure("an earlier one")
    monkeypatch.setattr(Runner, "train", lambda self: pytest.fail("trained again"))
    assert worker.main([str(run)]) == 0
    _assert_same(run, finished_run)
    old, new = read_json(finished_run / "result.json"), read_json(run / "result.json")
    assert new["metrics"] == old["metrics"]
    assert new["train_seconds"] == old["train_seconds"]
    assert not (run / "failure.json").exists()


def test_a_training_that_was_taken_over_is_only_evaluated_and_named(
    make_run: MakeRun, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(change=lambda config: config["model"]["test_cfg"].update(score_thr=0.001, max_per_img=3))
    take_over(RunDirectory(finished_run), RunDirectory(run))
    monkeypatch.setattr(Runner, "train", lambda self: pytest.fail("trained again"))
    assert worker.main([str(run)]) == 0
    result, donors = read_json(run / "result.json"), read_json(finished_run / "result.json")
    assert result["trained_by"] == finished_run.name and "trained_by" not in donors
    assert result["train_seconds"] == donors["train_seconds"] and result["images_per_second"] > 0
    assert _lines(run) == _lines(finished_run)
    found = pd.read_parquet(run / "detections.parquet").groupby("image_id").size()
    assert 0 < found.max() <= 3


def test_a_run_whose_donors_checkpoint_is_damaged_trains_itself(
    make_run: MakeRun, finished_run: Path
) -> None:
    run = make_run()
    take_over(RunDirectory(finished_run), RunDirectory(run))
    checkpoint = run / "checkpoints" / "latest.pth"
    whole = checkpoint.read_bytes()
    checkpoint.unlink()  # not to be written into: the donor's is the same file
    checkpoint.write_bytes(whole[:1000])
    assert worker.main([str(run)]) == 0
    assert "trained_by" not in read_json(run / "result.json")
    _assert_same(run, finished_run)


def test_a_second_worker_is_turned_away(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(make_run())
    with locked(run.lock_file):
        assert run.is_locked()
        assert worker.main([str(run.path)]) == worker.BUSY
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("error: ")
    assert "another process" in last
    assert not run.is_locked()
    assert not run.environment_file.exists()


def test_a_diverged_training_names_step_and_term(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(config: dict[str, Any]) -> None:
        config["optim_wrapper"]["optimizer"]["lr"] = 1e12
        config["param_scheduler"] = []
        del config["optim_wrapper"]["clip_grad"]

    run = make_run(change=diverge)
    assert worker.main([str(run)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("error: step ")
    assert "loss_" in last
    assert "learning rate" in last
    assert not (run / "result.json").exists()
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in metrics.jsonl"))


def test_a_full_disk_leaves_the_older_checkpoint_whole(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    save = Runner.save_checkpoint

    def full_in_epoch_2(runner: Runner, folder: str, name: str, **kwargs: Any) -> None:
        save(runner, folder, name, **kwargs)
        if runner.epoch == 1:
            (Path(folder) / name).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Runner, "save_checkpoint", full_in_epoch_2)
    assert worker.main([str(run)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "No space left on device" in last
    assert "epoch 2" in last
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["latest.pth"]
    assert read_checkpoint(RunDirectory(run)).epoch == 1


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda run: (run / "config.py").write_text("model = dict("), "config.py: cannot load"),
        (lambda run: (run / "config.py").unlink(), "config.py: cannot load"),
        (lambda run: (run / "spec.json").write_text("{"), "spec.json:1: not valid JSON"),
        (lambda run: (run / "checkpoints").write_text("a file, not a folder"), "cannot write the checkpoint"),
    ],
)
def test_errors_end_in_one_line(
    break_it: Callable[[Path], Any], says: str, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    break_it(run)
    assert worker.main([str(run)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last


def test_an_error_of_several_lines_is_whole_in_the_reason_of_the_failure(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise SuiteError("two images:\n  a\n\n  b", "Mend them.")

    assert worker.main([str(make_run())], fail) == 1
    assert child._reason(1, capsys.readouterr().out) == "two images:\n  a\n  b\n-> Mend them."


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert worker.main([str(tmp_path / "absent")]) == 1
    assert "absent: cannot work in this folder" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(("cores", "workers"), [("1", 1), ("2", 2), ("12", 8)])
def test_loader_workers_are_no_more_than_the_cores_of_the_process(
    cores: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", cores)
    config = Config({"train_dataloader": {"num_workers": 8}, "test_dataloader": {"num_workers": 0}})
    worker.fit_to_cores(config)
    assert (config.train_dataloader.num_workers, config.test_dataloader.num_workers) == (workers, 0)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer"), True),
        (torch.distributed.DistBackendError("timed out"), True),
        (RuntimeError("shapes do not match"), False),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), False),
        (SuiteError("NCCL"), False),
    ],
)
def test_who_only_lost_touch_with_another_process_is_no_cause(error: Exception, lost: bool) -> None:
    assert worker._lost_touch(error) is lost
