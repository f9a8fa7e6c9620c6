"""Files are whole or absent, and errors name them."""

import errno
import os

import pytest

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


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_nearest_suggests_only_what_is_near():
    assert nearest("retinanett", ["retinanet", "ltm"]) == " Did you mean 'retinanet'?"
    assert nearest("xyz", ["retinanet", "ltm"]) == ""
