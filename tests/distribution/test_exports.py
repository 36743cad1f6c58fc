"""Exports are packed only if they are those of the bundle's weights and config."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dckd_ext.distribution import violations
from dckd_ext.distribution.exports import export_problems
from dckd_ext.export import export_bundle
from tests.export.conftest import weighted_copy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path_factory.mktemp("whole"))
    export_bundle(root)
    return root


def train_on(root: Path) -> None:
    file = root / "models" / "model.pt"
    state = torch.load(file, weights_only=True)
    torch.save({key: value + 1 for key, value in state.items()}, file)


def change_overlap(root: Path) -> None:
    file = root / "configs" / "inference.yaml"
    file.write_text(file.read_text().replace("overlap: 0.75", "overlap: 0.5"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: None, []),
        (lambda root: (root / "models/model.ts").unlink(), []),
        (
            train_on,
            [
                "models/model.ts: exported with another weights_sha256 than",
                "models/model.onnx: exported with another weights_sha256 than",
            ],
        ),
        (
            change_overlap,
            [
                "models/model.ts: exported with another window",
                "models/model.onnx: exported with another window",
            ],
        ),
        (
            lambda root: (root / "models/model.onnx").unlink(),
            ["predict.py: there is no models/model.onnx for it"],
        ),
        (
            lambda root: (root / "predict.py").write_text("1\n"),
            ["predict.py: differs from the one of the inst"],
        ),
        (
            lambda root: (root / "models/model.ts").write_bytes(b"no"),
            ["models/model.ts: .* cannot be read as"],
        ),
        (
            lambda root: (root / "models/model.onnx").write_bytes(b"no"),
            ["models/model.onnx: .* cannot be read as"],
        ),
    ],
)
def test_exports(change: Callable[[Path], object], expected: list[str], whole: Path, tmp_path: Path):
    import re

    root = shutil.copytree(whole, tmp_path / whole.name)
    change(root)
    found = list(export_problems(root))
    assert len(found) == len(expected), found
    for text, pattern in zip(found, expected, strict=True):
        assert re.match(pattern, text)
    assert [problem for problem in violations(root) if problem in found] == found


def test_bundles_need_no_exports(tmp_path: Path):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    assert list(export_problems(root)) == []
