"""Files are whole or absent, and errors name them."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import files
from suite.errors import SuiteError, nearest
from suite.files import append_json_line, read_json, read_json_lines, sha256, write_atomically, write_json


def test_a_write_replaces_the_old_content(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(SuiteError, match=r"file\.txt: cannot write \(No space left on device\)"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(SuiteError, match=r"runs/x/spec\.json: cannot write"):
        write_json(tmp_path / "runs" / "x" / "spec.json", {})


@pytest.mark.parametrize("content", ['{"a": 1', "", "not json"])
def test_truncated_json_names_file_and_line(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(SuiteError, match=r"x\.json:1: not valid JSON"):
        read_json(path)


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(SuiteError, match="cannot read"):
        read_json(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SuiteError, match="not a text file"):
        read_json(tmp_path / "binary.json")


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "x.json", {"AP": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_lines_survive_a_cut_last_line_only(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert read_json_lines(path) == []
    for number in range(3):
        append_json_line(path, {"step": number})
    with path.open("a") as stream:
        stream.write('{"step": 3, "lo')
    assert [line["step"] for line in read_json_lines(path)] == [0, 1, 2]
    path.write_text('{"step": 0}\n{"st\n{"step": 2}\n')
    with pytest.raises(SuiteError, match=r"lines\.jsonl:2: not valid JSON"):
        read_json_lines(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LINES = st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=4)


@given(before=LINES, after=LINES, data=st.data())
def test_whatever_a_kill_leaves_of_the_file_all_whole_lines_are_read_and_appended(before, after, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.jsonl"
        for value in before:
            append_json_line(path, value)
        whole = path.read_bytes() if before else b""
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        ends = [index for index, byte in enumerate(whole) if byte == ord("\n")]
        kept = [value for value, end in zip(before, ends, strict=True) if end <= cut]
        assert read_json_lines(path) == kept
        for value in after:
            append_json_line(path, value)
        assert read_json_lines(path) == kept + after


def test_a_line_cut_in_its_middle_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"step": 0}\n{"step": 1, "lo')
    append_json_line(path, {"step": 2})
    assert path.read_text() == '{"step": 0}\n{"step": 2}\n'


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"step": 0}\n\xff\xfe\n{"step": 2}\n', "2: not text"),
        (b'{"step": 0}\n{"st\n', "2: not valid JSON"),
        (b'{"step": 0}\n\n{"step": 2}\n', "2: not valid JSON"),
        (b"\x00\x00\x00\n", "1: not valid JSON"),
        (b'{"step": 0}\n17\n', "2: not a JSON object"),
    ],
)
def test_other_damage_of_lines_names_file_and_line(tmp_path, content, fault):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(content)
    with pytest.raises(SuiteError, match=rf"lines\.jsonl:{fault}"):
        read_json_lines(path)


def test_lines_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(SuiteError, match="cannot read"):
        read_json_lines(tmp_path)


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_nearest_suggests_only_what_is_near():
    assert nearest("retinanett", ["retinanet", "ltm"]) == " Did you mean 'retinanet'?"
    assert nearest("xyz", ["retinanet", "ltm"]) == ""
