"""Talking to a MONAI Label server over HTTP with the standard library."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode


class Client:
    """Requests to one server; an answer is its status and its bytes."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def send(
        self,
        method: str,
        path: str,
        upload: tuple[str, Path] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(
            f"{self.url}{path}?{urlencode(query)}", method=method, **_content(upload, body)
        )
        for key, value in (headers or {}).items():
            request.add_header(key, value)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON of an answer that must be 200."""
        status, content = self.send(method, path, **arguments)
        assert status == 200, content
        return json.loads(content)

    def refusal(self, method: str, path: str, **arguments: Any) -> tuple[int, str]:
        """Status and reason of an answer that must be an error, after which the server must still serve."""
        status, content = self.send(method, path, **arguments)
        assert status >= 400, content
        assert self.send("GET", "/info/")[0] == 200
        return status, json.loads(content)["detail"]

    def infer(self, model: str, image: str, out: Path) -> Path:
        """Let the server segment one of its images, and keep the mask."""
        status, content = self.send("POST", f"/infer/{model}", image=image, output="image")
        assert status == 200, content
        out.write_bytes(content)
        return out

    def wait(self, path: str, seconds: float = 240) -> dict[str, Any]:
        """The last background task of a kind, once it has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            task: dict[str, Any] = self.ask("GET", path)
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(1)
        raise TimeoutError(f"{path} had not ended after {seconds} s: {task}")


def _content(upload: tuple[str, Path] | None, body: Any) -> dict[str, Any]:
    if body is not None:
        return {"data": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}
    if upload is None:
        return {"data": None}
    field, file = upload
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{file.name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return {
        "data": head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode(),
        "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    }
