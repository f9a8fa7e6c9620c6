"""Hashes of code that are kept from one command to the next."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.runs import code as module
from suite.runs.code import code_of, keep

TEXT = "import json\nx = 1\n"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a new process keeps hashes; nothing is there."""
    path = tmp_path / "cache" / "code.hashes.json"
    monkeypatch.setattr(module, "_file", lambda: path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    start()
    yield path
    start()


def start() -> None:
    """Forget what this process has seen."""
    module._kept.cache_clear()
    code_of.cache_clear()
    module._used.clear()


def test_a_known_text_is_not_parsed_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = code_of(TEXT)
    keep()
    start()
    monkeypatch.delattr(module, "_parsed")
    assert code_of(TEXT) == first
    assert first.imports == {"json"}


def test_a_new_text_is_parsed_and_kept_too(kept: Path) -> None:
    code_of(TEXT)
    keep()
    start()
    assert code_of(TEXT + "y = 2\n") != code_of(TEXT)
    keep()
    assert len(json.loads(kept.read_text())["hashes"]) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"made_by": "else", "hashes": {}}', '{"hashes": 3}'])
def test_a_damaged_file_counts_for_nothing(kept: Path, content: str) -> None:
    before = code_of(TEXT)
    start()
    kept.parent.mkdir()
    kept.write_text(content)
    assert code_of(TEXT) == before


def test_hashes_of_another_version_are_made_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code_of(TEXT)
    keep()
    start()
    monkeypatch.setattr(module, "_made_by", lambda: "a later version")
    assert module._kept() == {}


def test_where_nothing_can_be_written_all_works(kept: Path) -> None:
    kept.parent.write_text("not a folder")
    code_of(TEXT)
    keep()
    assert not kept.exists()


def test_the_file_does_not_grow_without_end(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    for number in range(5):
        start()
        code_of(f"x = {number}\n")
        keep()
        assert len(json.loads(kept.read_text())["hashes"]) <= 3
