"""Child processes end with their parent, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dckd_ext.utils.children import Children

CHILD = (
    "import os, sys, time\nfrom dckd_ext.utils.children import end_with_parent\nend_with_parent()\n"
    "open(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(600)"
)
# starts two children from threads, and ends them at a signal, as a study does
PARENT = """
import signal, sys
from concurrent.futures import ThreadPoolExecutor
from dckd_ext.utils.children import Children
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
children = Children()
with ThreadPoolExecutor(2) as pool:
    try:
        command = [sys.executable, "-c", sys.argv[1]]
        list(pool.map(lambda file: children.run([*command, file], None), sys.argv[2:]))
    except BaseException:
        children.end()
        raise
"""


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not (state.is_file() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_for(condition, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_end_with_their_parent(tmp_path: Path, number: signal.Signals):
    files = [tmp_path / "one", tmp_path / "two"]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, *map(str, files)])
    assert wait_for(lambda: all(file.is_file() and file.read_text() for file in files))
    children = [int(file.read_text()) for file in files]
    assert all(map(is_running, children))
    parent.send_signal(number)
    assert parent.wait(30) == {signal.SIGTERM: 143}.get(number, -number)
    assert wait_for(lambda: not any(map(is_running, children)), 20)


def test_the_status_of_a_child(tmp_path: Path):
    children = Children()
    with open(tmp_path / "log.txt", "w") as log:
        assert children.run([sys.executable, "-c", "print('said')"], log) == 0
        assert children.run([sys.executable, "-c", "import sys; sys.exit(3)"], log) == 3
    assert (tmp_path / "log.txt").read_text() == "said\n"


def test_a_child_that_was_ended_has_no_status_and_none_is_started_after(tmp_path: Path):
    children = Children()
    with open(tmp_path / "log.txt", "w") as log, ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(children.run, [sys.executable, "-c", CHILD, str(tmp_path / "pid")], log)
        assert wait_for((tmp_path / "pid").is_file)
        children.end()
        assert sleeping.result(30) is None
        assert children.run([sys.executable, "-c", "print('said')"], log) is None
    assert (tmp_path / "log.txt").read_text() == ""
