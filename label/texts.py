"""What may be asked: no text that a config would evaluate, and no path.

MONAI Label 0.8.5 puts what it is sent into file names and into configs of bundles, which MONAI evaluates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PureWindowsPath
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["VOLUMES", "check_request"]

VOLUMES = (".nii", ".nii.gz", ".nrrd")
"""Endings of what may be uploaded: the files that the bundles read, none that unpickles or unpacks."""

_EVALUATED = re.compile(r"^\s*[$@%]")  # an expression, a reference, a macro
_NO_NAME = re.compile(r"[/\\\x00-\x1f]|^\.\.?$|^\s*-")  # a path, or an option of the command that trains
_CONFIG_KEY = re.compile(r"^[_+]|#|::")  # `_target_` and its like, a merge, a key inside another key
_JSON = ("params", "info")
_STORED = "/datastore/"  # its params and infos are kept beside the volume, and go into no config


async def check_request(request: Request) -> None:
    """Check the names in path, query and form of a request, those of uploads, and its JSON at any depth.

    Raises:
        HTTPException: 422, with the value, what was found and what is expected.
    """
    form = await request.form()
    values = [*request.path_params.items(), *request.query_params.multi_items(), *form.multi_items()]
    try:
        for name, value in values:
            if isinstance(value, UploadFile):
                _check_upload(value)
            elif name in _JSON:
                _check_json(name, value, stored=request.url.path.startswith(_STORED))
            elif name == "uncompress" and value.lower() not in ("false", "0"):
                raise ValueError(f"uncompress: found {value!r}; archives are not unpacked here")
            else:
                _check_text(name, value)
        if "json" in request.headers.get("content-type", "").partition(";")[0].lower():
            _check_json("body", await request.body(), stored=False)
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, str(error)) from error


def _check_json(name: str, text: str | bytes, stored: bool) -> None:
    try:
        content = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"{name}: expected JSON: {error}") from error
    if not isinstance(content, dict | None):
        raise ValueError(f"{name}: found {text!r}, expected a JSON object")
    for at, key, value in () if stored else _items(name, content):
        if isinstance(key, str):
            _check_text(f"{at}: key", key)
            if _CONFIG_KEY.search(key):
                raise ValueError(f"{at}: found the key {key!r}, which would change a config")
        if isinstance(value, str):
            _check_text(f"{at}: {key}", value)


def _items(at: str, node: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where it is, key and value of everything inside."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield at, key, value
        yield from _items(f"{at}: {key}", value)


def _check_text(name: str, text: str) -> None:
    if _EVALUATED.search(text):
        raise ValueError(f"{name}: found {text!r}, but a config evaluates what begins with $, @ or %")
    if _NO_NAME.search(text):
        raise ValueError(f"{name}: found {text!r}, expected a plain name or value, no path and no option")


def _check_upload(file: UploadFile) -> None:
    name = PureWindowsPath(file.filename or "").name  # clients send the whole path that it has on their side
    _check_text("upload", name)
    if not name.lower().endswith(VOLUMES):
        raise ValueError(f"upload: found {name!r}, expected a volume: {', '.join(VOLUMES)}")
