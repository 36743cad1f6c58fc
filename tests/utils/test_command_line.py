import os
import subprocess
import sys
from pathlib import Path

import pytest

from dckd_ext.utils.command_line import changed_by_fire


@pytest.mark.parametrize(
    ("words", "value", "expected"),
    [
        (["--dataset_dir", "20240101"], 20240101, "20240101"),
        (["--dataset_dir=a#b"], "a", "a#b"),
        (["--dataset-dir", "a#b"], "a", "a#b"),
        (["--dataset_dir", "007"], "007", None),  # no number to Python
        (["--dataset_dir", "1e3"], 1000.0, "1e3"),
        (["--dataset_dir", "a,b"], ("a", "b"), "a,b"),
        (["--dataset_dir", "x", "--dataset_dir", "2024"], 2024, "2024"),
        (["--dataset_dir", "'a#b'"], "a#b", None),
        (["--dataset_dir", "./a#b"], "./a#b", None),
        (["--dataset_dir", "plain"], "plain", None),
        (["--dataset_dir", "$@bundle_root"], "/here", None),  # evaluated since
        (["--dataset_dir", "2024"], "from Python", None),
        (["--other", "2024"], 2024, None),
        (["--dataset_dir"], "default", None),
        ([], "default", None),
    ],
)
def test_what_fire_has_changed(words, value, expected, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["run", *words])
    assert changed_by_fire("dataset_dir", value) == expected


SCRIPT = """
import sys, types
from dckd_ext.utils import command_line, read_mapping
sys.modules["__main__"].__spec__ = types.SimpleNamespace(name={name!r})
command_line.say_cause_last()

def logged(path):
    try:
        read_mapping(path)
    except ValueError:
        import logging
        # as MONAI's handler does with what an engine raises
        logging.getLogger("StatsHandler").exception("Exception")
        raise

try:
    {action}
except Exception as error:
    raise RuntimeError("set _mode_ to debug") from error
"""


@pytest.mark.parametrize(
    ("name", "action", "settings", "last", "traceback"),
    [
        ("monai.bundle.__main__", "logged('a.json')", {}, "error: a.json: expected JSON, found", False),
        ("monai.bundle.__main__", "logged('a.json')", {"DCKD_TRACEBACK": "1"}, "error: a.json: ", True),
        ("monai.bundle.__main__", "read_mapping('a.json')", {}, "error: a.json: expected JSON, found", False),
        ("monai.bundle.__main__", "read_mapping('a.json')", {"DCKD_TRACEBACK": "1"}, "error: a.json: ", True),
        ("monai.bundle.__main__", "{}['key']", {}, "error: KeyError: 'key'", True),
        ("other", "{}['key']", {}, "RuntimeError: set _mode_ to debug", True),
    ],
)
def test_the_last_line(name: str, action: str, settings: dict, last: str, traceback: bool, tmp_path: Path):
    (tmp_path / "a.json").write_text("{")
    code = SCRIPT.format(name=name, action=action)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **settings},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(last), done.stderr
    assert ("Traceback" in done.stderr) == traceback
