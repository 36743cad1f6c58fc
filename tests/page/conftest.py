"""The page of `dckd export --web` in a real Chromium, served as `python -m http.server` does it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dckd_ext.export import check_page, export_bundle, export_page
from tests.conftest import bundle

# a sandbox of its own is not allowed to root; WebGL is computed, since test machines have no GPU
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
SECONDS = 90


def cannot(reason: str) -> None:
    """Fail where continuous integration runs, so that nothing is left out silently there."""
    if os.environ.get("CI"):
        pytest.fail(f"the page cannot be tested: {reason}")
    pytest.skip(reason)


@dataclass
class Server:
    """A plain file server, and how many bytes of which files it has sent."""

    folder: Path
    sent: dict[str, int] = field(default_factory=dict)
    url: str = ""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        check_page()
    except FileNotFoundError as error:
        cannot(str(error))
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        cannot("there is no Chromium: apt-get install chromium, or CHROMIUM=path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        cannot("playwright is not installed: make venv")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def exported_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped hippocampus student, exported with its page."""
    out = tmp_path_factory.mktemp("page")
    root = bundle("unet_student_segmentation")
    export_bundle(root, out)
    return export_page(root, out)


@pytest.fixture(scope="session")
def server(exported_page: Path) -> Iterator[Server]:
    server = Server(exported_page)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def copyfile(self, source: Any, outputfile: Any) -> None:
            server.sent[self.path] = os.fstat(source.fileno()).st_size
            super().copyfile(source, outputfile)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(exported_page))) as http:
        server.url = f"http://127.0.0.1:{http.server_port}/"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield server
        http.shutdown()


class Visitor:
    """Somebody who uses the page, and what came up meanwhile."""

    def __init__(self, context: Any, url: str) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        context.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        self.wait("#files:enabled")

    def wait(self, selector: str) -> None:
        """Until it is there, or an error is shown."""
        self.page.locator(f"{selector}, #error:visible").first.wait_for(timeout=SECONDS * 1000)

    def open(self, *files: Path) -> None:
        self.page.set_input_files("#files-input", list(files))
        self.wait("#run:enabled")

    def open_folder(self, folder: Path) -> None:
        self.page.set_input_files("#folder-input", folder)
        self.wait("#run:enabled")

    def segment(self, target: Path) -> Path:
        self.page.click("#run")
        self.wait("#results:visible")
        assert not self.error
        with self.page.expect_download() as download:
            self.page.click("#download")
        download.value.save_as(target / download.value.suggested_filename)
        return target / download.value.suggested_filename

    @property
    def error(self) -> str:
        return self.page.inner_text("#error") if self.page.is_visible("#error") else ""

    @property
    def warnings(self) -> list[str]:
        return self.page.locator("#warnings li").all_inner_texts()


@pytest.fixture(scope="session")
def visitor(chromium: Any, server: Server) -> Iterator[Visitor]:
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    yield Visitor(context, server.url)
    context.close()
