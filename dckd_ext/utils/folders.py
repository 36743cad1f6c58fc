"""One run at a time in a folder.

Of the standard library alone, as `predict.py` is, which takes this module to where little else is installed.
"""

from __future__ import annotations

import atexit
import errno
import json
import logging
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dckd_ext.utils.disks import full_disk_named, out_of_space
from dckd_ext.utils.files import remove_leftovers

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["LOCK", "STAGE", "FolderInUseError", "claim_folder", "claimed", "release_folder", "staged"]

LOCK = ".dckd.lock"
"""Name of the file in the folder that is locked; it says who has it."""
STAGE = ".dckd.stage"

_TAKEN = {errno.EAGAIN, errno.EACCES}
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
_PLACE = 2**30  # of the byte that Windows locks, behind the text, which others may then read


class FolderInUseError(OSError):
    """Another process writes to the folder."""


@dataclass
class _Claim:
    file: int  # descriptor; when it is closed, at the latest by the end of the process, the lock is free
    count: int = 1


_claims: dict[Path, _Claim] = {}
_guard = threading.Lock()


@contextmanager
def claimed(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Hold a folder for the length of a block, see `claim_folder`; what an outer block holds stays held."""
    claim_folder(folder)
    try:
        yield Path(folder)
    finally:
        release_folder(folder)


@contextmanager
def staged(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Claim a folder, and yield an empty one inside it to prepare files in; it is gone at the end.

    What a killed process left of its own is removed first.

    Raises:
        OSError: as `claim_folder`, and when the disk is full; names it and what is free on it.
    """
    with claimed(folder):
        stage = Path(folder) / STAGE
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        try:
            with full_disk_named(stage, stage / "room"):
                yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def claim_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder if needed, and keep other processes' runs out of it until `release_folder`.

    A process may claim a folder several times, and releases it as often, or by its end: the lock of a process
    that was killed is free. Unfinished files of killed processes are removed (`remove_leftovers`). A file
    system without locks is warned of.

    Args:
        folder: of results. The lock lies in it, so that it holds for all machines that share the folder.

    Raises:
        FolderInUseError: when another process has claimed it; names process, machine, time and command.
        OSError: when it cannot be made or written to.
    """
    folder = Path(folder).resolve()
    with _guard:
        if folder in _claims:
            _claims[folder].count += 1
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _locked(folder)
        except OSError as error:
            if full := out_of_space(error, folder / LOCK):
                raise full from None
            raise OSError(error.errno, f"cannot write to the folder {folder}: {error.strerror}") from None
        if file is None:
            raise FolderInUseError(
                f"{folder} is in use by {_holder(folder)}: wait for its end, or name another"
            )
        _claims[folder] = _Claim(file)
        remove_leftovers(folder)


def release_folder(folder: str | os.PathLike[str]) -> None:
    """Undo one `claim_folder`; a folder that this process has not claimed is left alone."""
    folder = Path(folder).resolve()
    with _guard:
        if folder in _claims:
            _claims[folder].count -= 1
            if not _claims[folder].count:
                _give_back(folder)


def _locked(folder: Path) -> int | None:
    """Return the locked file with this process's name in it, or None when another process has it."""
    while True:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(file):
                os.close(file)
                return None
            # the holder before may have removed it, and a third process made another
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(folder / LOCK)):
                    os.ftruncate(file, 0)
                    os.lseek(file, 0, os.SEEK_SET)
                    os.write(file, _this_process().encode())
                    return file
        except OSError:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(file, _PLACE, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno not in _NO_LOCKS:
            raise
        logging.getLogger(__name__).warning("the file system knows no locks: a second run is not kept out")
    return True


def _give_back(folder: Path) -> None:
    claim = _claims.pop(folder)
    # while it is held: whoever waits for the lock notices that its file is gone, and makes another
    with suppress(OSError):  # Windows keeps the file until it is closed
        (folder / LOCK).unlink()
    os.close(claim.file)


@atexit.register
def _give_all_back() -> None:
    for folder in list(_claims):
        _give_back(folder)


def _forget() -> None:
    """Let a fork, such as a worker of a data loader, have no part in what its parent has."""
    for claim in _claims.values():
        os.close(claim.file)
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _this_process() -> str:
    return json.dumps(
        {
            "process": os.getpid(),
            "machine": platform.node(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "",
        }
    )


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        return "process {process} on {machine}, since {since}, {command}".format(**holder)
    except (OSError, ValueError, KeyError, TypeError):  # not written yet, or by something else
        return "another process"
