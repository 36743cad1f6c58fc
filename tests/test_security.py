"""What docs/security.md says of commands: which run the code of a bundle, and say so, and which do not."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from dckd_ext.cli import COMMANDS
from dckd_ext.cli.fetch import fetch
from dckd_ext.cli.lint import lint
from dckd_ext.cli.taps import taps
from dckd_ext.distribution.archive import sha256_of
from tests.bundle.test_bundle import TEACHER_CLASSES, write_bundle

RUN = ["taps", "export", "pack", "report", "study"]


@pytest.mark.parametrize("command", RUN)
def test_the_help_of_what_runs_a_bundle(command: str):
    function = getattr(import_module(f"dckd_ext.cli.{command}"), command)
    text = " ".join(str(inspect.getdoc(function)).split())
    assert "runs the code of the bundle" in text
    assert "docs/security.md" in text


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A bundle that leaves a file when its config is evaluated, and one when its `scripts` are imported."""
    marks = tmp_path / "marks"
    marks.mkdir()
    config = {
        "channels": f"$2 if open({str(marks / 'config')!r}, 'w') else 2",
        "network_def": {"_target_": "scripts.nets.Net", "channels": "@channels"},
        "roi_size": [8, 8, 8],
    }
    root = write_bundle(tmp_path / "trap", config, TEACHER_CLASSES)
    (root / "scripts").mkdir()
    code = f"import torch\nopen({str(marks / 'scripts')!r}, 'w').close()\n"
    code += "class Net(torch.nn.Sequential):\n"
    code += "    def __init__(self, channels):\n        super().__init__(torch.nn.Conv3d(1, channels, 1))\n"
    (root / "scripts" / "nets.py").write_text(code)
    return root, marks


def fetch_it(root: Path) -> None:
    file = root.parent / f"{root.name}.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in root.rglob("*"):
            archive.write(path, path.relative_to(root.parent))
    (root.parent / "SHA256SUMS").write_text(f"{sha256_of(file)}  {file.name}\n")
    fetch(root.name, source=str(file), bundle_dir=str(root.parent / "fetched"))


def lint_it(root: Path) -> None:
    with pytest.raises(SystemExit):  # there are findings
        lint(str(root))


@pytest.mark.parametrize("use", [fetch_it, lint_it])
def test_what_does_not_run_a_bundle(trap: tuple[Path, Path], use: Callable[[Path], None]):
    root, marks = trap
    use(root)
    assert not list(marks.iterdir())


def test_what_runs_a_bundle(trap: tuple[Path, Path]):
    """Else the test above would say nothing."""
    root, marks = trap
    taps(str(root))
    assert {mark.name for mark in marks.iterdir()} == {"config", "scripts"}


def test_the_page_names_every_command():
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
    table = page.split("## Weights")[0]
    assert [name for name in COMMANDS if name not in table] == []
