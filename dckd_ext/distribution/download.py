"""Downloads that are verified, and that go on where they broke off."""

from __future__ import annotations

import http.client
import shutil
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from dckd_ext.distribution.archive import sha256_of
from dckd_ext.distribution.sources import TIMEOUT, Remote

__all__ = ["download"]

_ATTEMPTS = 4
_WAIT = 1.0  # seconds before the second attempt; twice that before the third


def download(remote: Remote, target: Path) -> None:
    """Download a file to ``target``, verified.

    What ``target`` holds already is taken for its beginning: the server is asked for the rest (HTTP Range),
    and sends all of it again if it does not know this. If the whole then has another hash, it is fetched once
    from its start. After a broken connection ``target`` keeps what came, for the next call.

    Raises:
        ValueError: if the content has another hash; ``target`` is removed.
        OSError: if the server refuses, or the connection breaks again and again.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    attempts = 1 if remote.url.startswith("file:") else _ATTEMPTS
    for attempt in range(attempts):
        try:
            if target.exists() and sha256_of(target) == remote.sha256:
                return
            resumed = _receive(remote.url, target)
        except HTTPError as error:
            if error.code < 500:
                raise OSError(f"{remote.url}: {error}") from error
            reason = str(error)
        except (OSError, http.client.HTTPException) as error:
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


def _receive(url: str, target: Path) -> bool:
    """Append the rest of a file, or write all of it; return whether something was appended."""
    start = target.stat().st_size if target.exists() else 0
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            target.unlink()  # longer than the file there: another one
            return _receive(url, target)
        raise
    with response:
        ranges = str(response.headers.get("Content-Range", ""))
        resumed = response.status == http.client.PARTIAL_CONTENT and ranges.startswith(f"bytes {start}-")
        if response.status == http.client.PARTIAL_CONTENT and not resumed:
            raise OSError(f"was asked for bytes from {start} on, sent {ranges!r}")
        length = response.headers.get("Content-Length")
        with target.open("ab" if resumed else "wb") as file:
            before = file.tell()
            with tqdm.wrapattr(
                file, "write", total=int(length) if length else None, desc=target.name, disable=None
            ) as counted:
                shutil.copyfileobj(response, counted, 2**18)
            received = file.tell() - before
    if length and received < int(length):  # urllib takes a connection that ends early for the end of the file
        raise OSError(f"the connection broke after {received} of {length} bytes")
    return resumed
