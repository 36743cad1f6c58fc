"""One run at a time in a folder, with real processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from dckd_ext.export.networks import write_torchscript
from dckd_ext.utils.folders import (
    LOCK,
    STAGE,
    FolderInUseError,
    claim_folder,
    claimed,
    release_folder,
    staged,
)
from tests.utils.test_files import small_disk  # noqa: F401 a fixture

HOLD = """
import sys
from dckd_ext.utils.folders import claim_folder
claim_folder(sys.argv[1])
print("claimed", flush=True)
sys.stdin.read()
"""
TRY = """
import sys
from dckd_ext.utils.folders import FolderInUseError, claimed
try:
    with claimed(sys.argv[1]):
        print("claimed")
except FolderInUseError as error:
    print(error)
"""


@contextmanager
def holder(folder: Path, script: str = HOLD, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    try:
        yield process
    finally:
        process.communicate("", timeout=30)


def another_process(folder: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", TRY, str(folder)], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path):
    folder = tmp_path / "new" / "out"
    with holder(folder) as process:
        with pytest.raises(FolderInUseError) as caught, claimed(folder):
            pass
        text = str(caught.value)
        who = f"process {process.pid} on {os.uname().nodename}"
        assert text.startswith(f"{folder} is in use by {who}, since 2")
        assert f", -c {folder}: wait" in text
    with claimed(folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_killed_holder_loses_the_folder(tmp_path: Path):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert (tmp_path / LOCK).is_file()
        with claimed(tmp_path):
            assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_process_may_claim_what_it_has(tmp_path: Path):
    claim_folder(tmp_path)
    with claimed(tmp_path / "." / "sub" / ".."):
        pass
    assert f"in use by process {os.getpid()}" in another_process(tmp_path)  # the outer claim stands
    release_folder(tmp_path)
    assert another_process(tmp_path) == "claimed\n"
    release_folder(tmp_path)  # once too often


def test_a_fork_of_the_holder_takes_nothing_away(tmp_path: Path):
    """Not even one that ends in order, as a worker of a data loader does not."""
    script = (
        "import os, sys\nfrom dckd_ext.utils.folders import claim_folder\nclaim_folder(sys.argv[1])\n"
        "if not os.fork():\n    sys.exit()\nos.wait()\nprint('claimed', flush=True)\nsys.stdin.read()"
    )
    with holder(tmp_path, script):
        assert "in use by process" in another_process(tmp_path)


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    script = (
        "import os, sys\nfrom dckd_ext.utils.files import written_whole\n"
        "with written_whole(sys.argv[1]) as beside:\n    beside.write_text('ha')\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.csv")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with claimed(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {LOCK}


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=rf"cannot write to the folder {tmp_path}/file: File exists"):
        claim_folder(tmp_path / "file")
    with pytest.raises(OSError, match="cannot write to the folder /proc/dckd: "):
        claim_folder("/proc/dckd")


def test_a_file_system_without_locks_is_warned_of(tmp_path: Path, monkeypatch, caplog):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with claimed(tmp_path):
        assert "knows no locks" in caplog.text


def test_of_many_that_want_a_folder_one_has_it_at_a_time(tmp_path: Path):
    """They come and go, and with them the lock's file."""
    script = (
        "import os, sys, time\nfrom dckd_ext.utils.folders import FolderInUseError, claimed\n"
        "entered = 0\nend = time.monotonic() + 3\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        with claimed(sys.argv[1]):\n"
        "            os.close(os.open(sys.argv[1] + '/alone', os.O_CREAT | os.O_EXCL))\n"
        "            os.unlink(sys.argv[1] + '/alone')\n"
        "            entered += 1\n"
        "    except FolderInUseError:\n"
        "        pass\n"
        "print(entered)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    entered = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(entered) > 100
    assert list(tmp_path.iterdir()) == []


def fill(disk: Path, pages: int) -> None:
    """Leave so many pages of 4 KB of a disk of one megabyte."""
    (disk / "full").write_bytes(bytes(2**20 - pages * 2**12))


def save_tensors(stage: Path) -> None:
    torch.save(torch.zeros(10**4), stage / "model.pt")


def save_script(stage: Path) -> None:
    write_torchscript(torch.nn.Linear(100, 100), stage / "model.ts", {})


def save_bytes(stage: Path) -> None:
    (stage / "a.zip").write_bytes(bytes(2**16))


@pytest.mark.parametrize("save", [save_tensors, save_script, save_bytes])
def test_a_stage_on_a_full_disk_names_it(small_disk: Path, save):  # noqa: F811
    """Torch hides the disk's error behind one of its own, or, for TorchScript, ends the process."""
    fill(small_disk, 3)
    text = rf"cannot write {small_disk}/\.dckd\.stage: No space left .* MB are free on the disk {small_disk}"
    with pytest.raises(OSError, match=text), staged(small_disk) as stage:
        save(stage)
    assert [path.name for path in small_disk.iterdir()] == ["full"]


def test_a_disk_without_room_for_the_lock_is_named(small_disk: Path):  # noqa: F811
    fill(small_disk, 0)
    text = rf"cannot write .*{LOCK}: No space left .* \(0\.0 MB are free on the disk {small_disk}"
    with pytest.raises(OSError, match=text):
        claim_folder(small_disk)
    (small_disk / "full").unlink()
    with claimed(small_disk):
        pass


def test_a_stage_is_empty_and_gone_at_the_end(tmp_path: Path):
    (tmp_path / STAGE).mkdir()
    (tmp_path / STAGE / "left by a killed process").touch()
    with staged(tmp_path) as stage:
        assert list(stage.iterdir()) == []
        assert stage.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
