"""A small bundle that keeps all rules, and servers with the faults that downloads meet."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

NAME = "toy_segmentation"
TITLE = f"{NAME}_v0.1.0"
NETWORK = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
README = "# Toy\n\n" + "\n\n".join(
    f"## {title}\n\nNone."
    for title in ("Data", "Training configuration", "Input", "Output", "Performance", "Commands", "License")
)


def tensor(channels: list[str]) -> dict[str, Any]:
    return {
        "type": "image",
        "format": "segmentation",
        "num_channels": len(channels),
        "spatial_shape": [4, 4, 4],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(number): name for number, name in enumerate(channels)},
    }


def metadata() -> dict[str, Any]:
    return {
        "schema": "https://example.org/schema.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "first version"},
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.4.6",
        "required_packages_version": {"dckd-ext": "0.1.0"},
        "task": "Tests",
        "description": "A toy",
        "authors": "Nobody",
        "copyright": "None",
        "network_data_format": {
            "inputs": {"image": tensor(["image"])},
            "outputs": {"pred": tensor(["background", "lesion"])},
        },
    }


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.nn.Conv3d(1, 2, 1).state_dict()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=4), encoding="utf-8")


def make_bundle(folder: Path, name: str = NAME) -> Path:
    root = folder / name
    for part in ("configs", "docs", "models"):
        (root / part).mkdir(parents=True)
    (root / "LICENSE").write_text("Apache License\nVersion 2.0\n")
    (root / "docs" / "README.md").write_text(README)
    (root / "docs" / "data_license.txt").write_text("None.\n")
    write_json(root / "configs" / "metadata.json", metadata())
    write_json(root / "configs" / "inference.json", {"network_def": NETWORK, "bundle_root": "."})
    others = {"teacher_bundle": "t", "student_bundle": "s"} if name.endswith("_distillation") else {}
    write_json(root / "configs" / "train.json", {"network_def": NETWORK, **others})
    torch.save(weights(), root / "models" / "model.pt")
    return root


def change_metadata(root: Path, **changes: Any) -> None:
    file = root / "configs" / "metadata.json"
    write_json(file, {**json.loads(file.read_text()), **changes})


class Server(ThreadingHTTPServer):
    """Serves a folder; records what is asked for, and fails as its attributes say.

    Attributes:
        ranges: whether Range is understood.
        drop_after: bytes of a zip or model.pt after which the connection is cut, once each for every entry.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.folder = folder
        self.ranges = True
        self.drop_after: list[int] = []
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        file = self.server.folder / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        is_large = file.suffix in (".zip", ".pt")
        self.wfile.write(
            body[: self.server.drop_after.pop(0)] if is_large and self.server.drop_after else body
        )

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
