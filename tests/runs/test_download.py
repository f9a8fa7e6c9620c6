"""Downloads from a server on this machine: whole, resumed, cut short, wrong."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from suite.errors import SuiteError
from suite.runs.download import copy_in_place, download

CONTENT = bytes(range(256)) * 5000
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves :data:`CONTENT` and remembers the ranges that were asked for."""

    ranges: list[str | None]
    cut_at: int | None = None
    knows_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path != "/file.pth":
            return self.send_error(404)
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.knows_ranges else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : self.server.cut_at])
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as started:
        started.ranges = []
        thread = Thread(target=started.serve_forever, daemon=True)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.pth"


@pytest.mark.parametrize("checksum", [CHECKSUM, CHECKSUM[:8], ""])
def test_a_download_is_whole_and_leaves_nothing_else(checksum: str, server: Server, target: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    download(server.url, target, checksum, lambda done, total: steps.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert list(target.parent.iterdir()) == [target]


def test_an_interrupted_download_goes_on_where_it_stopped(server: Server, target: Path) -> None:
    server.cut_at = 600_000
    with pytest.raises(SuiteError, match=r"file.pth: cannot be downloaded \(.*600,000 of 1,280,000 bytes"):
        download(server.url, target, CHECKSUM)
    assert not target.exists()
    server.cut_at = None
    download(server.url, target, CHECKSUM)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=600000-"]


def test_a_server_without_ranges_sends_all_again(server: Server, target: Path) -> None:
    target.with_name("file.pth.part").write_bytes(CONTENT[:1000])
    server.knows_ranges = False
    download(server.url, target, CHECKSUM)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_fetched_anew(server: Server, target: Path) -> None:
    target.with_name("file.pth.part").write_bytes(CONTENT + b"more")
    download(server.url, target, CHECKSUM)
    assert target.read_bytes() == CONTENT


def test_another_content_is_refused_and_kept_aside(server: Server, target: Path) -> None:
    with pytest.raises(SuiteError, match=f"SHA-256 {CHECKSUM}, expected 1234; kept as .*file.pth.wrong"):
        download(server.url, target, "1234")
    assert [path.name for path in target.parent.iterdir()] == ["file.pth.wrong"]


def test_a_server_without_the_file_and_no_server_are_named(server: Server, target: Path) -> None:
    other = server.url.replace("file.pth", "other.pth")
    with pytest.raises(SuiteError, match=r"other.pth: cannot be downloaded \(Not Found"):
        download(other, target, "")
    with pytest.raises(SuiteError, match=r"127.0.0.1:9/.*: cannot be downloaded \(.*refused"):
        download("http://127.0.0.1:9/file.pth", target, "")


def test_a_file_copied_by_hand_is_checked_and_stays(target: Path, tmp_path: Path) -> None:
    source = tmp_path / "usb.pth"
    source.write_bytes(CONTENT)
    with pytest.raises(SuiteError, match="another file than expected"):
        copy_in_place(source, target, "1234")
    copy_in_place(source, target, CHECKSUM)
    assert source.read_bytes() == target.read_bytes() == CONTENT
