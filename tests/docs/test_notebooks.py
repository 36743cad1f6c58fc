"""The notebooks, executed in a copy beside the bundles."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import BUNDLES

NOTEBOOKS = BUNDLES.parent / "docs" / "notebooks"


def execute(name: str, folder: Path) -> tuple[str, set[str]]:
    """What the last cell with code prints, and the kinds of what it shows."""
    copy = folder / "docs" / "notebooks"
    copy.mkdir(parents=True)
    (folder / "bundles").symlink_to(BUNDLES, target_is_directory=True)
    notebook = nbformat.read(shutil.copy(NOTEBOOKS / name, copy), as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(copy)}}).execute()
    outputs = [cell for cell in notebook.cells if cell.cell_type == "code"][-1].outputs
    return "".join(output.get("text", "") for output in outputs), {
        kind for output in outputs for kind in output.get("data", {})
    }


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda file: file.stem)
def test_is_stored_without_outputs(file: Path):
    code = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
def test_use_a_student(tmp_path: Path):
    printed, shown = execute("use_a_student.ipynb", tmp_path)
    assert "image/png" in shown
    anterior, posterior, inside = map(int, re.findall(r"(\d+)(?: mm³|%)", printed))
    assert 200 < anterior < 2000
    assert 1000 < posterior < 3000
    assert inside > 75


@pytest.mark.slow
def test_distil_your_own_bundle(tmp_path: Path):
    printed, _ = execute("distil_your_own_bundle.ipynb", tmp_path)
    scores = re.findall(r"my_(\w+)_segmentation: Dice (\S+), .* (\S+) MB, 4 volumes", printed)
    assert [name for name, _, _ in scores] == ["teacher", "student"]
    assert min(float(dice) for _, dice, _ in scores) > 0.7
    assert float(scores[1][2]) < 0.15 * float(scores[0][2])
