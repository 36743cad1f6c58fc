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
