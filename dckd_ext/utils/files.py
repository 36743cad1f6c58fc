"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from dckd_ext.utils.disks import out_of_space

__all__ = ["check_writable", "remove_leftovers", "written_whole"]

# machine, process and chance make a name that no other writer has; the rest keeps the ending
_PARTIAL = re.compile(r"\.partial-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}-.+", re.DOTALL)
_ABANDONED = 24 * 3600  # seconds untouched, where the writer cannot be asked for
_seen: set[Path] = set()


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it takes the place of ``path`` only if the body succeeds.

    The process may be killed at any moment, the disk may fill up, and others may write the same file:
    ``path`` holds what it held before, or one of the new contents. The file ending is kept, since writers
    choose their format by it. Missing folders are made. What killed processes have left in the folder is
    removed before its first file is written, see `remove_leftovers`.

    Raises:
        OSError: when the disk is full or the file cannot be made; names ``path``, and the disk and what is
            free on it.

    Examples:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> with written_whole(target) as beside:
        ...     _ = beside.write_text("case,dice")
        >>> target.read_text()
        'case,dice'
    """
    path = Path(path)
    beside = _beside(path)
    try:
        _open_folder(path.parent)
        yield beside
        with open(beside, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except Exception as error:
        if (named := _named(error, path, beside)) is None:
            raise
        raise named from None
    finally:
        with suppress(OSError):
            beside.unlink()


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a file that could not be written later, and make its folder.

    Raises:
        OSError: with the path, when its folder cannot be made or written to, or it is a folder itself.
    """
    path = Path(path)
    if path.is_dir():
        raise OSError(errno.EISDIR, f"cannot write {path}: {os.strerror(errno.EISDIR)}")
    beside = _beside(path)
    try:
        _open_folder(path.parent)
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise _named(error, path, beside) or error from None


def _beside(path: Path) -> Path:
    mark = f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".partial-{mark}-{path.name[-40:]}")  # names may have 255 bytes


def _open_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder := folder.resolve()) not in _seen:
        _seen.add(folder)
        remove_leftovers(folder)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the unfinished files that killed writers of `written_whole` have left in a folder.

    A writer is dead when this machine has no process of its number. Of other machines, containers and
    Windows that cannot be asked: what was untouched for a day counts as abandoned.
    """
    for path in Path(folder).glob(".partial-*"):
        with suppress(OSError):  # gone by now, or not ours to remove
            if _is_abandoned(path):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    match = _PARTIAL.fullmatch(path.name)
    if match is None or not path.is_file():
        return False
    if match["machine"] == _machine() and not _is_running(int(match["process"])):
        return True
    return time.time() - path.stat().st_mtime > _ABANDONED


@cache
def _machine() -> str:
    """Tell apart what does not share numbers of processes: kernels since their start, and containers."""
    parts = [platform.node()]
    with suppress(OSError):  # Linux alone has these
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # unknown: to ask with os.kill would end it there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _named(error: Exception, path: Path, beside: Path) -> OSError | None:
    """Return the error as one of ``path``, if it was the disk's or of the file beside."""
    if full := out_of_space(error, path, beside):
        return full
    ours = (None, *(name for file in (beside, path.parent) for name in (file, str(file))))
    if isinstance(error, OSError) and error.errno and error.filename in ours:
        return OSError(error.errno, f"cannot write {path}: {os.strerror(error.errno)}")
    return None
