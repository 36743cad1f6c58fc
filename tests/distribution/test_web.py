"""Servers that never end, stall or lie cost a bounded time and a bounded disk."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dckd_ext.distribution import fetch_bundle, pack_bundles, web
from dckd_ext.distribution.sources import find
from dckd_ext.utils import FolderInUseError
from tests.distribution.examples import NAME, TITLE, make_bundle
from tests.utils.test_files import small_disk  # noqa: F401 a fixture
from tests.utils.test_folders import holder

ZIP = f"{TITLE}.zip"
Behaviour = Callable[["Handler", bytes], None]


class Server(ThreadingHTTPServer):
    """Serves a release; the files in ``misbehave`` in another way."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.misbehave: dict[str, Behaviour] = {}
        self.asked: list[str] = []
        self.ended = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address) -> None:
        """Be quiet about clients that go away."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked.append(name)
        content = (self.server.folder / name).read_bytes()
        self.server.misbehave.get(name, honest)(self, content)

    def head(self, length: int | None) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def slowly(self, content: bytes) -> None:
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.ended.wait(0.02):
                return

    def log_message(self, *arguments: object) -> None:
        pass


def honest(handler: Handler, content: bytes) -> None:
    handler.head(len(content))
    handler.wfile.write(content)


def endless(handler: Handler, content: bytes) -> None:
    handler.head(None)
    while not handler.server.ended.is_set():
        handler.wfile.write(bytes(2**16))


def endless_behind_a_true_length(handler: Handler, content: bytes) -> None:
    handler.head(len(content))
    handler.wfile.write(bytes(len(content)))
    while not handler.server.ended.is_set():
        handler.wfile.write(bytes(2**16))


def states_too_much(handler: Handler, content: bytes) -> None:
    handler.head(10**15)
    endless(handler, content)


def states_too_little(handler: Handler, content: bytes) -> None:
    handler.head(100)
    handler.wfile.write(content)


def stalls(handler: Handler, content: bytes) -> None:
    handler.head(len(content))
    handler.wfile.write(content[:100])
    handler.wfile.flush()
    handler.server.ended.wait(60)


def dribbles(handler: Handler, content: bytes) -> None:
    handler.head(None)
    handler.slowly(content * 100)


def dribbles_its_head(handler: Handler, content: bytes) -> None:
    handler.slowly(b"HTTP/1.0 200 OK\r\nX-Long: " + b"x" * 10**5)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("dckd_ext.distribution.download._WAIT", 0.0)
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    pack_bundles([make_bundle(tmp_path / "bundles")], tmp_path / "release")
    running = Server(tmp_path / "release")
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.ended.set()
    running.shutdown()
    running.server_close()
    thread.join()


def left(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("behaviour", "message", "asked"),
    [
        (endless, r"sends more than \d+ bytes", 1),
        (states_too_much, r"has 1000000000000000 bytes, its index says \d+: damaged, or another file", 1),
        (states_too_little, r"has 100 bytes, its index says \d+", 1),
        (endless_behind_a_true_length, r"has SHA-256 \w+, expected", 1),
        (stalls, r"could not be downloaded: .*timed out", 4),
        (dribbles, r"could not be downloaded: sends fewer than 16384 bytes in 0.5 s", 4),
        (dribbles_its_head, r"could not be downloaded: no answer within 1 s", 4),
    ],
)
def test_a_file_of_a_known_size(server: Server, tmp_path: Path, behaviour, message: str, asked: int):
    server.misbehave[ZIP] = behaviour
    start = time.monotonic()
    with pytest.raises((ValueError, OSError), match=message):
        fetch_bundle(NAME, server.url, bundle_dir=tmp_path / "fetched")
    assert time.monotonic() - start < 20
    assert server.asked.count(ZIP) == asked
    assert left(tmp_path / "fetched") < (server.folder / ZIP).stat().st_size


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (endless, "sends more than 1048576 bytes"),
        (states_too_much, "has 9.31e.05 GB, at most 0.000977 GB are"),
    ],
)
def test_a_file_of_an_unknown_size_is_bounded_by_the_option(
    server: Server, tmp_path: Path, behaviour, message: str
):
    server.misbehave[ZIP] = behaviour
    with pytest.raises(ValueError, match=message):
        fetch_bundle(NAME, f"{server.url}/{ZIP}", bundle_dir=tmp_path / "fetched", max_gb=2**-10)
    assert not list((tmp_path / "fetched").iterdir())


def test_a_size_above_the_bound_is_refused_before_anything_is_asked_for(server: Server, tmp_path: Path):
    index = json.loads((server.folder / "model_info.json").read_text())
    index[TITLE]["size"] = 3 * 2**30
    (server.folder / "model_info.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="has 3 GB by its index, at most 2 GB are taken"):
        fetch_bundle(NAME, server.url, bundle_dir=tmp_path / "fetched")
    assert ZIP not in server.asked
    for size in ("large", -1, 1.5, True):
        index[TITLE]["size"] = size
        (server.folder / "model_info.json").write_text(json.dumps(index))
        with pytest.raises(ValueError, match="size should be a number of bytes, found"):
            find(NAME, server.url)


@pytest.mark.parametrize("behaviour", [endless, stalls, dribbles, dribbles_its_head])
@pytest.mark.parametrize("name", ["model_info.json", "SHA256SUMS"])
def test_an_index(server: Server, tmp_path: Path, behaviour, name: str):
    server.misbehave[name] = behaviour
    source = server.url if name == "model_info.json" else f"{server.url}/{ZIP}"
    start = time.monotonic()
    with pytest.raises((ValueError, OSError), match=rf"{name}.*(sends|timed out|no answer)"):
        find(NAME, source)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("bound", [0, -1, "abc", float("nan")])
def test_a_bound_that_is_none(tmp_path: Path, bound):
    with pytest.raises(ValueError, match="max_gb: expected a number above 0, found"):
        fetch_bundle(NAME, str(tmp_path), bundle_dir=tmp_path, max_gb=bound)


def test_a_full_disk_is_named_and_not_tried_again(server: Server, small_disk: Path):  # noqa: F811
    (small_disk / "full").write_bytes(bytes(2**20 - 2 * 2**12))  # a page for the lock, one for half a zip
    with pytest.raises(OSError, match=rf"cannot write .*{ZIP}: No space left on device \(.* {small_disk}\)"):
        fetch_bundle(NAME, server.url, bundle_dir=small_disk)
    assert server.asked.count(ZIP) == 1
    (small_disk / "full").write_bytes(bytes(2**20 - 5 * 2**12))  # room for the lock and the zip
    text = rf"cannot write .*/\.partial-{NAME}/{NAME}: No space left on device \(.* {small_disk}\)"
    with pytest.raises(OSError, match=text):
        fetch_bundle(NAME, server.url, bundle_dir=small_disk)
    assert not (small_disk / NAME).exists()
    (small_disk / "full").unlink()
    fetch_bundle(NAME, server.url, bundle_dir=small_disk)
    assert [path.name for path in small_disk.iterdir()] == [NAME]


def test_two_that_fetch_one_bundle_do_not_meet(server: Server, tmp_path: Path):
    with holder(tmp_path / f".partial-{NAME}"), pytest.raises(FolderInUseError, match="is in use by process"):
        fetch_bundle(NAME, server.url, bundle_dir=tmp_path)
    assert fetch_bundle(NAME, server.url, bundle_dir=tmp_path).folder.is_dir()


def test_the_option_of_the_command(server: Server, tmp_path: Path):
    code = "from dckd_ext.cli import main; main()"
    command = [sys.executable, "-c", code, "fetch", NAME, "--source", f"{server.url}/{ZIP}"]
    command += ["--bundle_dir", str(tmp_path / "fetched"), "--max_gb", "0.000001"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has 4.53e-06 GB, at most 9.99e-07 GB are taken" in done.stderr
