"""Many processes save one file while others read it: none fails, and nothing half is ever seen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROCESSES, SAVES = 6, 20
# each save is as large as no other, so that a mixture of two could not be read
SAVE = f"""
import sys, torch
from dckd_ext.utils.files import written_whole
failed = 0
for number in range({SAVES}):
    value = int(sys.argv[2]) * {SAVES} + number
    try:
        with written_whole(sys.argv[1]) as beside:
            torch.save({{"value": value, "tensor": torch.full((50_000 + 1000 * value,), value)}}, beside)
    except Exception as error:
        print(error, file=sys.stderr)
        failed += 1
print(failed)
"""
READ = """
import os, sys, torch
reads = corrupt = 0
while os.getppid() == int(sys.argv[2]) and not os.path.exists(sys.argv[1] + ".end"):
    try:
        state = torch.load(sys.argv[1], weights_only=True)
        value, tensor = state["value"], state["tensor"]
        assert len(tensor) == 50_000 + 1000 * value and bool((tensor == value).all())
    except FileNotFoundError:  # not saved yet
        continue
    except Exception:
        corrupt += 1
    reads += 1
print(reads, corrupt)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def count_faults(folder: Path) -> tuple[int, int, int]:
    """Return the saves that failed, the reads, and those that were corrupt."""
    file = folder / "model.pt"
    readers = [start(READ, file, os.getpid()) for _ in range(2)]
    writers = [start(SAVE, file, number) for number in range(PROCESSES)]
    failed = sum(int(writer.communicate(timeout=300)[0]) for writer in writers)
    (folder / "model.pt.end").touch()
    counts = [tuple(map(int, reader.communicate(timeout=60)[0].split())) for reader in readers]
    return failed, sum(reads for reads, _ in counts), sum(corrupt for _, corrupt in counts)


@pytest.mark.slow
def test_no_save_fails_and_no_read_is_corrupt(tmp_path: Path):
    failed, reads, corrupt = count_faults(tmp_path)
    print(f"{PROCESSES * SAVES} saves: {failed} failed; {reads} reads: {corrupt} corrupt")
    assert (failed, corrupt) == (0, 0)
    assert reads > 20
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "model.pt.end"}
