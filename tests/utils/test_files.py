"""Whole or absent: whatever happens to the process, the disk, or at the same time."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dckd_ext.utils.files import _PARTIAL, remove_leftovers, written_whole


def half_write(target: Path, error: Exception) -> None:
    with written_whole(target) as beside:
        beside.write_text("ha")
        raise error


def test_replaces_the_file_at_the_end(tmp_path: Path):
    target = tmp_path / "new" / "scores.csv"
    with written_whole(target) as beside:
        beside.write_text("whole")
        assert not target.exists()
        assert beside.name.endswith(".csv")  # writers choose their format by the ending
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_keeps_the_old_file_when_writing_fails(tmp_path: Path, error):
    target = tmp_path / "model.pt"
    target.write_text("old")
    with pytest.raises(type(error)):
        half_write(target, error)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["a" * 255, "漢" * 80 + ".nii.gz", "-.csv", ".hidden"])
def test_any_name_that_a_file_may_have(tmp_path: Path, name: str):
    with written_whole(tmp_path / name) as beside:
        assert _PARTIAL.fullmatch(beside.name)
        beside.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path):
    target = tmp_path / "a.csv"
    with written_whole(target) as one, written_whole(target) as other:
        one.write_text("1" * 1000)
        other.write_text("2")
    assert target.read_text() == "1" * 1000  # the outer one ends last
    assert list(tmp_path.iterdir()) == [target]


def leave(folder: Path, hold: str) -> subprocess.Popen:
    """A process in the middle of writing `folder/a.csv`."""
    script = (
        "import os, sys, time\nfrom dckd_ext.utils.files import written_whole\n"
        f"with written_whole(sys.argv[1]) as beside:\n    beside.write_text('ha')\n    {hold}"
    )
    return subprocess.Popen([sys.executable, "-c", script, str(folder / "a.csv")])


def test_leftovers_of_the_dead_are_removed_those_of_the_living_kept(tmp_path: Path):
    leave(tmp_path, "os.kill(os.getpid(), 9)").wait(60)
    dead = set(tmp_path.iterdir())
    assert len(dead) == 1
    living = leave(tmp_path, "time.sleep(60)")
    try:
        while not (written := set(tmp_path.iterdir()) - dead):
            time.sleep(0.05)
        with written_whole(tmp_path / "b.csv") as beside:  # the first file of this process in this folder
            beside.write_text("b")
        assert set(tmp_path.iterdir()) == {*written, tmp_path / "b.csv"}
    finally:
        living.send_signal(signal.SIGKILL)
        living.wait(60)


def test_leftovers_of_other_machines_are_kept_for_a_day(tmp_path: Path):
    """And nothing else that only looks like one is removed at all."""
    foreign = tmp_path / ".partial-00000000-1-0a1b2c3d-model.pt"
    others = [tmp_path / name for name in (".partial-mine.csv", ".partial-0-1-2-x", "partial-a.csv")]
    folder = tmp_path / ".partial-00000000-1-0a1b2c3d-folder"
    for path in (foreign, *others):
        path.write_text("x")
    folder.mkdir()
    remove_leftovers(tmp_path)
    assert foreign.exists()
    for path in (foreign, *others, folder):
        os.utime(path, (0, time.time() - 25 * 3600))
    remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == {*others, folder}


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a failed torch.save keeps its file open


def save_tensors(path: Path) -> None:
    with written_whole(path) as beside:
        torch.save({"a": torch.zeros(10**6)}, beside)


def save_bytes(path: Path) -> None:
    with written_whole(path) as beside:
        beside.write_bytes(bytes(2 * 2**20))


@pytest.mark.parametrize("save", [save_bytes, save_tensors])  # torch hides the disk's error behind its own
def test_a_full_disk_is_named_and_nothing_half_is_left(small_disk: Path, save):
    target = small_disk / "model.pt"
    target.write_text("old")
    with pytest.raises(OSError, match="No space left") as caught:
        save(target)
    assert caught.value.errno == errno.ENOSPC
    assert f"cannot write {target}: " in str(caught.value)
    assert f"0.0 MB are free on the disk {small_disk})" in str(caught.value)
    assert target.read_text() == "old"
    assert list(small_disk.iterdir()) == [target]


@pytest.mark.parametrize("save", [save_bytes, save_tensors])
def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path, save):
    """The system's own limit, which any user may have, in a process that lowers it."""
    (tmp_path / "model.pt").write_text("old")
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5))
            save(tmp_path / "model.pt")
        except OSError as error:
            os.write(write, json.dumps([error.errno, str(error)]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    number, text = json.loads(os.read(read, 10**4))
    assert number == errno.EFBIG
    assert f"cannot write {tmp_path / 'model.pt'}: File too large (" in text
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path):
    def refused(beside: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(beside))

    with pytest.raises(PermissionError) as caught, written_whole(tmp_path / "a.csv") as beside:
        refused(beside)
    assert str(caught.value) == f"[Errno 13] cannot write {tmp_path / 'a.csv'}: Permission denied"


def test_errors_of_other_files_stay_as_they_are(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="absent"), written_whole(tmp_path / "a.csv"):
        (tmp_path / "absent").read_text()
