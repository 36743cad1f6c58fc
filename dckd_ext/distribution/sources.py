"""Where `fetch` finds a bundle: the forms of a source, and the files with checksums that it leads to."""

from __future__ import annotations

import http.client
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlparse

from dckd_ext.distribution.archive import check_paths
from dckd_ext.distribution.release import CHECKSUMS, INDEX
from dckd_ext.distribution.web import SizeError, ask, chunks

__all__ = ["RELEASE_URL", "Remote", "Source", "find"]

RELEASE_URL = ""
"""The project's release, for `dckd fetch` without `--source`; the maintainers set it at the first one."""

_FORMS = (
    "a folder or address that holds model_info.json and the zips, a zip with SHA256SUMS beside it, "
    "hub:owner/repo, or github:owner/repo@tag"
)
_TEXT_LIMIT = 10 * 2**20  # bytes


@dataclass(frozen=True)
class Remote:
    """One file to fetch: its address, what it must hash to, and its path below the folder it goes to.

    ``size`` are its bytes, where the source states them.
    """

    url: str
    sha256: str
    path: str
    size: int | None = None


@dataclass(frozen=True)
class Source:
    """A bundle at a source: one zip, or its files one by one (``unpacked``); the version if it is known."""

    url: str
    files: tuple[Remote, ...]
    version: str | None
    unpacked: bool = False


def find(name: str, source: str, version: str | None = None) -> Source:
    """Find a bundle; only the index or the checksums are read.

    Args:
        name: of the bundle.
        source: see docs/release.md.
        version: by default the newest one; on a hub that tagged `latest_version`.

    Raises:
        ValueError: if the source is of no known form, or has no such bundle or version.
        OSError: if it cannot be reached.
    """
    if not source:
        raise ValueError(f"There is no release of this project yet. Name a source: --source {_FORMS}")
    if source.startswith("hub:"):
        return _on_hub(_repository(source, r"hub:([\w.-]+/[\w.-]+)")[0], version)
    if source.startswith("github:"):
        repository, tag = _repository(source, r"github:([\w.-]+/[\w.-]+)@([\w.+-]+)")
        return _in_folder(f"https://github.com/{repository}/releases/download/{tag}", name, version)
    url = _url(source)
    if url.endswith(".zip"):
        return _beside(url, version)
    return _in_folder(url.rstrip("/"), name, version)


def _repository(source: str, form: str) -> tuple[str, ...]:
    match = re.fullmatch(form, source)
    if not match:
        raise ValueError(f"Expected {_FORMS}; found {source!r}")
    return match.groups()


def _url(source: str) -> str:
    if urlparse(source).scheme in ("http", "https", "file"):
        return source
    path = Path(source).expanduser()
    if not path.exists():
        raise ValueError(f"{source!r} is neither there nor an address. Expected {_FORMS}")
    return path.resolve().as_uri()


def _in_folder(url: str, name: str, version: str | None) -> Source:
    try:
        index = json.loads(_read(f"{url}/{INDEX}"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{url}/{INDEX} is not JSON: {error}") from error
    versions = {
        title.removeprefix(f"{name}_v"): entry
        for title, entry in _mapping(index, f"{url}/{INDEX}").items()
        if title.startswith(f"{name}_v")
    }
    if not versions:
        raise ValueError(f"{url}/{INDEX} has no bundle {name!r}, only {sorted(index)}")
    chosen = version or max(versions, key=_numbers)
    if chosen not in versions:
        raise ValueError(f"{url}/{INDEX} has no version {version} of {name}, only {sorted(versions)}")
    entry = _mapping(versions[chosen], f"{url}/{INDEX}: {name}_v{chosen}")
    size = entry.get("size")  # MONAI's own indices have none
    if size is not None and not (type(size) is int and size > 0):
        raise ValueError(f"{url}/{INDEX}: {name}_v{chosen}: size should be a number of bytes, found {size!r}")
    # the zip beside the index, not the address in it: a copy of a release then serves itself
    zip_name = f"{name}_v{chosen}.zip"
    return _zip(_remote(f"{url}/{zip_name}", str(entry.get("sha256", "")), zip_name, size), chosen)


def _beside(url: str, version: str | None) -> Source:
    folder, _, zip_name = url.rpartition("/")
    sums = _checksums(f"{folder}/{CHECKSUMS}")
    if zip_name not in sums:
        raise ValueError(f"{folder}/{CHECKSUMS} has no {zip_name}, only {sorted(sums)}")
    return _zip(_remote(url, sums[zip_name], zip_name), version)


def _on_hub(repository: str, version: str | None) -> Source:
    # the plain addresses of files on a hub: no client library is needed for public repositories
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = f"{endpoint}/{repository}/resolve/{version or 'latest_version'}"
    sums = _checksums(f"{url}/{CHECKSUMS}")
    check_paths(f"{url}/{CHECKSUMS}", sums)
    files = tuple(_remote(f"{url}/{quote(path)}", sha256, path) for path, sha256 in sums.items())
    return Source(url, files, version, unpacked=True)


def _zip(remote: Remote, version: str | None) -> Source:
    return Source(remote.url, (remote,), version)


def _checksums(url: str) -> dict[str, str]:
    """Read a file as `sha256sum` writes it."""
    lines = [line.split(maxsplit=1) for line in _read(url).splitlines() if line.strip()]
    if not lines or any(len(line) != 2 for line in lines):
        raise ValueError(f"{url}: expected lines of a SHA-256 and a file name")
    return {path.removeprefix("*"): sha256 for sha256, path in lines}


def _remote(url: str, sha256: str, path: str, size: int | None = None) -> Remote:
    check_paths(url, [path])
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"The source states no SHA-256 for {path}, but {sha256!r}: it cannot be verified")
    return Remote(url, sha256.lower(), path, size)


def _read(url: str) -> str:
    try:
        with ask(url) as response:
            return b"".join(chunks(response, _TEXT_LIMIT)).decode("utf-8")
    except HTTPError as error:
        raise ValueError(f"{url}: {error}. Expected {_FORMS}") from error
    except (http.client.InvalidURL, UnicodeDecodeError, SizeError) as error:
        raise ValueError(f"{url}: {error}. Expected {_FORMS}") from error
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"{url} cannot be read: {getattr(error, 'reason', error)}") from error


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected an object, found {type(value).__name__}")
    return value


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
