"""A lock ends with its process; forked children do not keep it, and close nothing but it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from suite.errors import SuiteError
from suite.locks import is_locked, locked

PRELUDE = """
import os, sys, time
from pathlib import Path
from suite.locks import is_locked, locked
path = Path(sys.argv[1])
"""


class Busy(Exception):
    pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def start(script: str, path: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", PRELUDE + script, str(path)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@contextmanager
def started(script: str, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that says when it is ready; killed at the end."""
    with start(script, path) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "ready\n", line + process.stdout.read()
            yield process
        finally:
            process.kill()


def printed(script: str, path: Path) -> str:
    """What a process and its children print."""
    output, _ = start(script, path).communicate(timeout=60)
    return output


HOLD = "with locked(path):\n    print('ready', flush=True)\n    time.sleep({})\n"


def test_a_second_holder_gets_the_callers_error_after_a_while(path: Path) -> None:
    with locked(path):
        assert is_locked(path)
        begun = time.monotonic()
        with pytest.raises(Busy, match="mine"), locked(path, Busy("mine"), patience=0.2):
            pytest.fail("held twice")
        assert 0.2 <= time.monotonic() - begun < 5
    assert not is_locked(path)
    with locked(path, Busy(), patience=0):
        pass


def test_an_error_inside_gives_the_lock_back(path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), locked(path):
        raise ValueError("inside")
    assert not is_locked(path)


def test_a_short_holder_is_waited_for(path: Path) -> None:
    with started(HOLD.format(0.5), path), locked(path, Busy()):
        pass


def test_without_an_error_to_raise_the_wait_has_no_end(path: Path) -> None:
    held: list[float] = []
    with started(HOLD.format(60), path) as process:

        def wait() -> None:
            with locked(path, patience=0):
                held.append(time.monotonic())

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.3)
        assert not held
        process.kill()
        waiting.join(20)
        assert held


def test_a_killed_holder_gives_the_lock_back(path: Path) -> None:
    with started(HOLD.format(60), path) as process:
        assert is_locked(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not is_locked(path)


def test_nobody_holds_a_file_that_is_not_there(path: Path) -> None:
    assert not is_locked(path)
    assert not path.exists()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="absent: cannot work in this folder"), locked(tmp_path / "absent/x"):
        pass


ORPHAN = """
with locked(path):
    if os.fork():
        print("ready", flush=True)
        time.sleep(60)
    time.sleep(3)  # as a loader worker, which outlives a killed parent by seconds
"""


def test_a_forked_child_that_outlives_the_holder_does_not_hold_the_lock(path: Path) -> None:
    with started(ORPHAN, path) as process:
        assert is_locked(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_locked(path)


GRANDCHILD = """
with locked(path):
    number = next(int(n) for n in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{n}") == str(path))
    if child := os.fork():
        os.waitpid(child, 0)
        print("parent", is_locked(path), flush=True)
    else:
        other = os.open(path.with_name("other"), os.O_RDWR | os.O_CREAT)
        os.dup2(other, number)  # the number of the lock's file is now another file's
        if grandchild := os.fork():
            os.waitpid(grandchild, 0)
            os.write(number, b"child ")
        else:
            os.write(number, b"grandchild ")
        os._exit(0)
"""  # noqa: E501


def test_a_grandchild_does_not_close_a_number_that_is_another_file_by_now(path: Path) -> None:
    output = printed(GRANDCHILD, path.resolve())
    assert path.with_name("other").read_text() == "grandchild child ", output
    assert output == "parent True\n"


LEAVES = """
with locked(path):
    child = os.fork()
    if not child:
        own = locked(path.with_name("own"))
        own.__enter__()  # its file gets the number that the parent's had
if child:
    os.waitpid(child, 0)
else:
    print("own", is_locked(path.with_name("own")), flush=True)
"""


def test_a_child_that_leaves_the_block_of_its_parent_closes_nothing(path: Path) -> None:
    assert printed(LEAVES, path) == "own True\n"
