from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("contract")

from contract import ExecutorContract, collect, make_job, script_command  # noqa: E402

from suite.errors import SuiteError  # noqa: E402
from suite.scheduling import LocalExecutor  # noqa: E402


@pytest.fixture(autouse=True)
def no_devices_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


class TestLocalExecutor(ExecutorContract):
    source = "LocalExecutor(cpus=2, gpus=0, command=script_command)"

    @pytest.fixture
    def executor(self) -> Iterator[LocalExecutor]:
        with LocalExecutor(cpus=2, gpus=1, command=script_command) as executor:
            yield executor


def test_large_job_is_not_overtaken(tmp_path: Path) -> None:
    with LocalExecutor(cpus=2, gpus=0, command=script_command) as executor:
        note = "with open(shared / 'order', 'a') as file: file.write(here.name)\nsucceed()"
        executor.submit(make_job(tmp_path, "a", "wait_for('go')\n" + note))
        executor.submit(make_job(tmp_path, "b", note, cpus=2))
        executor.submit(make_job(tmp_path, "c", note))
        (tmp_path / "go").touch()
        assert all(outcome.ok for outcome in collect(executor).values())
    assert (tmp_path / "order").read_text() == "abc"


def test_devices_come_from_those_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    tell = "(here / 'gpu').write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
    with LocalExecutor(cpus=4, command=script_command) as executor:
        # The halves share one device, so that the whole one fits beside them.
        for name, gpus, others in (("a", 0.5, "bc"), ("b", 0.5, "ac"), ("c", 1, "ab")):
            meet = f"(shared / '{name}.in').touch(); wait_for('{others[0]}.in'); wait_for('{others[1]}.in')\n"
            executor.submit(make_job(tmp_path, name, tell + meet + "succeed()", gpus=gpus))
        executor.submit(make_job(tmp_path, "d", tell + "succeed()", gpus=2))
        assert all(outcome.ok for outcome in collect(executor).values())
    assert [(tmp_path / name / "gpu").read_text() for name in "abcd"] == ["4", "4", "7", "4,7"]


def test_thirds_give_back_a_whole_gpu(tmp_path: Path) -> None:
    with LocalExecutor(cpus=1, gpus=1, command=script_command) as executor:
        for index in range(3):
            executor.submit(make_job(tmp_path, f"third{index}", "succeed()", cpus=0.1, gpus=1 / 3))
        executor.submit(make_job(tmp_path, "whole", "succeed()", gpus=1))
        assert all(outcome.ok for outcome in collect(executor).values())


@pytest.mark.parametrize(
    ("visible", "gpus", "named"), [("0", 2, "names 1: 0"), ("", 1, "none"), (None, 0.5, "0.5")]
)
def test_gpus_that_are_not_there_are_refused(
    visible: str | None, gpus: float, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(SuiteError, match=named):
        LocalExecutor(cpus=1, gpus=gpus)
