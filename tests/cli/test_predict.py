"""`dckd predict` finds the network of a bundle and ends with the right exit code."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dckd_ext.cli.predict import predict
from tests.conftest import write_volume
from tests.export.test_predict import WHOLE, write_network

TWO = {**WHOLE, "classes": ["background"]}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A network that calls everything background."""
    (tmp_path / "bundle" / "models").mkdir(parents=True)
    write_network(tmp_path / "bundle" / "models" / "model.onnx", TWO)
    write_volume(tmp_path / "in" / "a.nii.gz", np.ones((9, 9, 9), np.float32))
    return tmp_path / "bundle"


def dckd(*arguments: Any) -> subprocess.CompletedProcess:
    code = "from dckd_ext.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("model", [".", "models/model.onnx"])
def test_bundle_or_file(model: str, bundle: Path, tmp_path: Path):
    predict(str(bundle / model), str(tmp_path / "in"), out=str(tmp_path / "out"), threads=1, overlap=0.0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_seg.nii.gz"]


def test_exit_codes(bundle: Path, tmp_path: Path):
    good = dckd(bundle, tmp_path / "in", "--out", tmp_path / "out")
    assert good.returncode == 0, good.stderr
    (tmp_path / "in" / "b.nii").write_bytes(b"no")
    again = dckd(bundle, tmp_path / "in", "--out", tmp_path / "out")
    assert again.returncode == 1
    assert "1 of 2 masks are there already, such as" in again.stderr
    partly = dckd(bundle, tmp_path / "in", "--out", tmp_path / "out", "--existing", "replace")
    assert partly.returncode == 1
    assert "1 of 2 cases failed, the others are done" in partly.stderr
    absent = dckd(bundle, tmp_path / "gone.nii", "--out", tmp_path / "out")
    assert absent.returncode == 1
    assert absent.stderr == f"dckd: {tmp_path / 'gone.nii'}: there is no such file or folder\n"


def test_bundle_that_was_not_exported(tmp_path: Path):
    write_volume(tmp_path / "a.nii", np.ones((3, 3, 3), np.float32))
    with pytest.raises(FileNotFoundError, match=r"no network at .*model\.onnx: make it with `dckd export"):
        predict(str(tmp_path), str(tmp_path / "a.nii"), out=str(tmp_path / "out"))


def test_no_bundle(tmp_path: Path):
    absent = dckd("NO_SUCH_FOLDER", "--out", tmp_path / "out")
    assert (absent.returncode, absent.stderr) == (
        1,
        "dckd: NO_SUCH_FOLDER: there is no such bundle or network\n",
    )
    assert not (tmp_path / "out").exists()


def test_no_volume(bundle: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="Name at least one volume"):
        predict(str(bundle), out=str(tmp_path))
