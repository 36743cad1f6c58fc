"""One run at a time in a folder."""

from __future__ import annotations

import atexit
import errno
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dckd_ext.utils.files import remove_leftovers

__all__ = ["FolderInUseError", "claim_folder", "claimed", "release_folder"]

LOCK, HOLDER = ".dckd.lock", ".dckd.holder.json"
"""Names in the folder: the lock itself, and who has it, in words. `export/predict.py` knows both."""

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
_claims: dict[Path, FileLock] = {}
_guard = threading.Lock()
_logger = logging.getLogger(__name__)


class FolderInUseError(OSError):
    """Another process writes to the folder."""


@contextmanager
def claimed(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Hold a folder for the length of a block, see `claim_folder`; what an outer block holds stays held."""
    claim_folder(folder)
    try:
        yield Path(folder)
    finally:
        release_folder(folder)


def claim_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder if needed, and keep other processes' runs out of it until `release_folder`.

    A process may claim a folder several times, and releases it as often, or by its end: the system frees the
    lock of a process that was killed, and the next one takes it over. Unfinished files of killed processes
    are removed (`remove_leftovers`). A file system without locks is warned of.

    Args:
        folder: of results. The lock lies in it, so that it holds for all machines that share the folder.

    Raises:
        FolderInUseError: when another process has claimed it; names process, machine, time and command.
        OSError: when it cannot be made or written to.
    """
    folder = Path(folder).resolve()
    with _guard:
        if folder in _claims:
            _claims[folder].acquire()
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _claims[folder] = _locked(folder)
            (folder / HOLDER).write_text(json.dumps(_this_process()), encoding="utf-8")
        except OSError as error:
            if folder in _claims:
                _give_back(folder)
            if isinstance(error, FolderInUseError):
                raise
            raise OSError(error.errno, f"cannot write to the folder {folder}: {error.strerror}") from None
        remove_leftovers(folder)


def release_folder(folder: str | os.PathLike[str]) -> None:
    """Undo one `claim_folder`; a folder that this process has not claimed is left alone."""
    folder = Path(folder).resolve()
    with _guard:
        lock = _claims.get(folder)
        if lock is not None and lock.lock_counter > 1:
            lock.release()
        elif lock is not None:
            _give_back(folder)


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(_refusal(folder)) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _logger.warning("%s: its file system knows no locks, a second run would not be kept out", folder)
    return lock


def _give_back(folder: Path) -> None:
    lock = _claims.pop(folder)
    # while it is held: whoever waits for the lock notices that its file is gone, and makes another
    for name in (HOLDER, LOCK):
        with suppress(OSError):  # Windows keeps the file until it is closed
            (folder / name).unlink(missing_ok=True)
    lock.release(force=True)


@atexit.register
def _give_all_back(process: int = os.getpid()) -> None:
    if os.getpid() == process:  # a fork has a copy of the claims, and no right to them
        for folder in list(_claims):
            _give_back(folder)


def _this_process() -> dict[str, Any]:
    return {
        "process": os.getpid(),
        "machine": platform.node(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "",
    }


def _refusal(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        who = "process {process} on {machine}, since {since}: {command}".format(**holder)
    except (OSError, ValueError, KeyError, TypeError):  # not written yet, or by something else
        who = "another process"
    return f"{folder} is in use by {who}. Wait for its end, or name another folder"
