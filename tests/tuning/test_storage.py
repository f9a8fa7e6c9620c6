"""Storages: the journal's repair and refusal, databases that do not answer."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from suite.errors import SuiteError
from suite.tuning import storage
from suite.tuning.storage import JOURNAL, open_storage, without_password


def _study(folder: Path, trials: int = 3) -> Path:
    study = optuna.create_study(study_name="s", storage=open_storage(folder, None))
    for value in range(trials):
        study.tell(study.ask(), value)
    return folder / JOURNAL


def test_the_journal_keeps_trials(tmp_path: Path) -> None:
    _study(tmp_path)
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path, None))
    assert [trial.value for trial in study.trials] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("rest", [b'{"op_code": 6, "wor', b"{", b'{"op_code": 6, "trial_id": 2}'])
def test_a_line_cut_short_by_a_power_cut_is_left_out(tmp_path: Path, rest: bytes) -> None:
    path = _study(tmp_path)
    before = path.read_bytes()
    path.write_bytes(before + rest)
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path, None))
    assert path.read_bytes() == before
    study.tell(study.ask(), 9.0)
    again = optuna.load_study(study_name="s", storage=open_storage(tmp_path, None))
    assert [trial.value for trial in again.trials] == [0.0, 1.0, 2.0, 9.0]


def test_only_the_writer_repairs(tmp_path: Path) -> None:
    path = _study(tmp_path)
    path.write_bytes(path.read_bytes() + b"{")
    before = path.read_bytes()
    open_storage(tmp_path, None, writes=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [b"\x00\x00\x00\n", b"[]\n", b"{}\n"])
def test_damage_in_the_middle_is_refused_with_its_line(tmp_path: Path, damage: bytes) -> None:
    path = _study(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = damage
    path.write_bytes(b"".join(lines))
    with pytest.raises(SuiteError, match=rf"{JOURNAL}:3: the journal is damaged here"):
        open_storage(tmp_path, None)


def test_a_journal_that_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    path = _study(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    operation = json.loads(lines[0])
    path.write_text("".join([json.dumps({**operation, "op_code": 6}) + "\n", *lines[1:]]))
    with pytest.raises(SuiteError, match="cannot be read"):
        open_storage(tmp_path, None)


def test_the_lock_of_a_killed_driver_holds_nobody_up(tmp_path: Path) -> None:
    path = _study(tmp_path)
    path.with_name(f"{JOURNAL}.lock").symlink_to(path)
    started = time.monotonic()
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path, None))
    study.tell(study.ask(), 1.0)
    assert time.monotonic() - started < 10  # Optuna itself waits 30 s


def test_a_database_by_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = optuna.create_study(study_name="s", storage=open_storage(tmp_path, url))
    study.tell(study.ask(), 4.0)
    assert optuna.load_study(study_name="s", storage=open_storage(tmp_path, url)).best_value == 4.0


@pytest.mark.parametrize("url", ["no url", "sqlite:////no/such/folder/x.db", "oracle+nothing://a/b"])
def test_a_database_that_cannot_be_used_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SuiteError, match="--storage") as caught:
        open_storage(tmp_path, url)
    assert "Expected a URL such as sqlite:///" in str(caught.value)


def test_a_port_where_nothing_listens_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(SuiteError, match=f"nothing answers at 127.0.0.1:{port}") as caught:
        open_storage(tmp_path, f"mysql://tuner:secret@127.0.0.1:{port}/studies")
    assert "secret" not in str(caught.value)


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = []

        def accept() -> None:
            while True:
                try:
                    kept.append(listener.accept())
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        for connection, _ in kept:
            connection.close()


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, silent_server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(url: str, **_: object) -> None:
        with socket.create_connection(("127.0.0.1", silent_server)) as connection:
            connection.recv(1)

    monkeypatch.setattr(storage, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(optuna.storages, "RDBStorage", connect)  # as a driver does, which is not installed
    with pytest.raises(SuiteError, match="no answer within"):
        open_storage(tmp_path, f"postgresql://tuner@127.0.0.1:{silent_server}/studies")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://me@host:5432/db"),
        ("mysql://me:s@c@host/db", "mysql://me@host/db"),
        ("sqlite:///studies.db", "sqlite:///studies.db"),
    ],
)
def test_passwords_are_not_printed(url: str, shown: str) -> None:
    assert without_password(url) == shown
