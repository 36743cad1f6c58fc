"""Bundles with weights, and what is exported from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dckd_ext.bundle import student_network
from dckd_ext.export import export_bundle
from tests.conftest import bundle


def weighted_copy(kind: str, family: str, folder: Path) -> Path:
    """A shipped bundle with weights, random ones where none are shipped."""
    source = bundle(kind, family)
    kept = shutil.ignore_patterns("output", "eval", "*.ts", "*.onnx", "predict.py", "previous")
    root = shutil.copytree(source, folder / source.name, ignore=kept)
    (root / "models").mkdir(exist_ok=True)
    weights = root / "models" / "model.pt"
    if family == "abus" or not weights.is_file():
        torch.manual_seed(0)
        torch.save(student_network(root).state_dict(), weights)
    return root


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The copy of a bundle after `dckd export`, made once."""
    made: dict[tuple[str, str], Path] = {}

    def get(kind: str, family: str = "hippocampus") -> Path:
        if (kind, family) not in made:
            root = weighted_copy(f"{kind}_segmentation", family, tmp_path_factory.mktemp("exported"))
            export_bundle(root)
            made[kind, family] = root
        return made[kind, family]

    return get
