"""Downloads that are verified, and that go on where they broke off."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

from tqdm import tqdm

from dckd_ext.distribution.archive import sha256_of
from dckd_ext.distribution.sources import Remote
from dckd_ext.distribution.web import SizeError, ask, chunks
from dckd_ext.utils.disks import out_of_space

__all__ = ["download"]

_ATTEMPTS = 4
_WAIT = 1.0  # seconds before the second attempt; twice that before the third


def download(remote: Remote, target: Path, most: int) -> None:
    """Download a file of at most ``most`` bytes to ``target``, verified.

    What ``target`` holds already is taken for its beginning: the server is asked for the rest (HTTP Range),
    and sends all of it again if it does not know this. If the whole then has another hash, it is fetched once
    from its start. After a broken connection ``target`` keeps what came, for the next call.

    Raises:
        ValueError: if the content has another size or hash, or is larger; ``target`` is removed.
        OSError: if the server refuses, the connection breaks or stalls again and again, or the disk is full.
    """
    if remote.size is not None and remote.size > most:
        raise SizeError(f"{remote.url} has {_gb(remote.size)} by its index, at most {_gb(most)} are taken")
    target.parent.mkdir(parents=True, exist_ok=True)
    attempts = 1 if remote.url.startswith("file:") else _ATTEMPTS
    for attempt in range(attempts):
        try:
            if target.exists() and sha256_of(target) == remote.sha256:
                return
            resumed = _receive(remote, target, most)
        except HTTPError as error:
            if error.code < 500:
                raise OSError(f"{remote.url}: {error}") from error
            reason = str(error)
        except SizeError as error:
            target.unlink(missing_ok=True)
            raise SizeError(f"{remote.url} {error}") from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and (full := out_of_space(error, target)):
                raise full from None
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            found = sha256_of(target)
            if found == remote.sha256:
                return
            target.unlink()
            if not resumed:
                raise ValueError(
                    f"{remote.url} has SHA-256 {found}, expected {remote.sha256}: damaged, or another file"
                )
            reason = "its beginning is from another file"
        if attempt + 1 < attempts:
            time.sleep(_WAIT * 2**attempt)
    raise OSError(
        f"{remote.url} could not be downloaded: {reason}. The same command goes on where it broke off"
    )


def _receive(remote: Remote, target: Path, most: int) -> bool:
    """Append the rest of a file, or write all of it; return whether something was appended."""
    start = target.stat().st_size if target.exists() else 0
    request = Request(remote.url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = ask(request)
    except HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            target.unlink()  # longer than the file there: another one
            return _receive(remote, target, most)
        raise
    with response:
        ranges = str(response.headers.get("Content-Range", ""))
        resumed = response.status == http.client.PARTIAL_CONTENT and ranges.startswith(f"bytes {start}-")
        if response.status == http.client.PARTIAL_CONTENT and not resumed:
            raise OSError(f"was asked for bytes from {start} on, sent {ranges!r}")
        before = start if resumed else 0
        length = _stated_length(response)
        _check_size(before + length if length is not None else None, remote.size, most)
        bound = (most if remote.size is None else remote.size) - before
        received = 0
        with (
            target.open("ab" if resumed else "wb") as file,
            tqdm.wrapattr(file, "write", total=length, desc=target.name, disable=None) as counted,
        ):
            for chunk in chunks(response, bound):
                counted.write(chunk)
                received += len(chunk)
    if length is not None and received < length:  # urllib takes a connection that ends early for the end
        raise OSError(f"the connection broke after {received} of {length} bytes")
    return resumed


def _stated_length(response: Any) -> int | None:
    stated = response.headers.get("Content-Length")
    return int(stated) if stated and stated.isdecimal() else None


def _check_size(stated: int | None, expected: int | None, most: int) -> None:
    """Refuse a file by what the server says of it, before it is sent."""
    if stated is None:
        return
    if expected is not None and stated != expected:
        raise SizeError(f"has {stated} bytes, its index says {expected}: damaged, or another file")
    if stated > most:
        raise SizeError(f"has {_gb(stated)}, at most {_gb(most)} are taken")


def _gb(size: int) -> str:
    return f"{size / 2**30:.3g} GB"
