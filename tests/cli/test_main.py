"""The command line as a whole, where the extras are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dckd_ext.cli import _COMMANDS, _EXTRAS

TEACHER = Path(__file__).parents[2] / "docs" / "results" / "hippocampus" / "teacher"


def without_extras(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules.update(dict.fromkeys({list(_EXTRAS)}))\n"
    code += "from dckd_ext.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_all_commands_are_listed():
    found = without_extras("--help")
    assert found.returncode == 0
    assert all(name in found.stderr + found.stdout for name in _COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (["report", f"teacher={TEACHER}", "--out", "OUT/report.html"], "matplotlib", "report"),
        (["study", "absent.yaml"], "matplotlib", "report"),
        (["export", "absent"], "onnxruntime", "export"),
        (["predict", "absent", "x.nii", "--out", "y"], "onnxruntime", "export"),
    ],
)
def test_a_missing_extra_is_named_and_nothing_written(
    arguments: list[str], module: str, extra: str, tmp_path: Path
):
    found = without_extras(*(text.replace("OUT", str(tmp_path)) for text in arguments))
    assert found.returncode == 1
    assert f"dckd: {module} is not installed; in the source tree: pip install '.[{extra}]'" in found.stderr
    assert "Traceback" not in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_command_in_order(name: str, status: int, tmp_path: Path):
    """In the middle of a file: nothing of it is left, and the folder is free."""
    code = f"""
import os, signal, sys, time
import dckd_ext.cli.lint
from dckd_ext.cli import main
from dckd_ext.utils import claimed, written_whole
def lint(folder):
    with claimed(folder), written_whole(folder + "/report.html") as beside:
        beside.write_text("half")
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)
dckd_ext.cli.lint.lint = lint
main()
"""
    command = [sys.executable, "-c", code, "lint", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == status
    assert done.stderr == ("dckd: interrupted\n" if name == "SIGINT" else "")
    assert list(tmp_path.iterdir()) == []
