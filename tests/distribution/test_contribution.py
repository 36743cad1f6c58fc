"""Bundles as the model zoo takes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from dckd_ext.distribution.contribution import main, needed_modules, write_contribution
from tests.conftest import bundle, write_volume
from tests.export.conftest import weighted_copy

NAME = "hippocampus_hrnet_student_segmentation"
# Runs the inference where this package is neither installed nor on the path.
WITHOUT_PACKAGE = """
import sys
from pathlib import Path

sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
sys.path = [sys.argv[1], *(path for path in sys.path if not (Path(path) / "dckd_ext").is_dir())]
from monai.bundle import create_workflow

workflow = create_workflow(
    config_file=f"{sys.argv[1]}/configs/inference.yaml", workflow_type="infer", bundle_root=sys.argv[1],
    dataset_dir=sys.argv[2], output_dir=sys.argv[3], device="cpu",
)
workflow.run()
import dckd_ext

print(dckd_ext.__file__)
"""


@pytest.fixture(scope="module")
def contribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zoo")
    main([str(bundle("hrnet_student_segmentation")), "--out", str(out)])
    return out


@pytest.mark.slow
def test_modules_that_inference_needs_need_no_others():
    """What the copies import of this package is among them."""
    modules = needed_modules()
    assert {"dckd_ext.networks.hrnet3d", "dckd_ext.transforms.reading"} <= modules.keys()
    lines = ["import sys", *(f"import {name}" for name in modules), "print(*sys.modules)"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] == "dckd_ext"}
    assert loaded <= modules.keys()


def test_files_are_in_the_places_of_the_zoo(contribution: Path):
    root = contribution / "models" / NAME
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    assert "dckd-ext" not in metadata["required_packages_version"]
    config = yaml.safe_load((root / "configs" / "inference.yaml").read_text())
    assert config["imports"][0] == "$import scripts"
    assert (root / "scripts" / "dckd_ext" / "__init__.py").is_file()
    assert (root / "models" / "model.pt").is_file()
    assert not (root / "large_files.yml").exists()
    test = (contribution / "ci" / "unit_tests" / f"test_{NAME}.py").read_text()
    compile(test, "test", "exec")
    assert f'BUNDLE = "models/{NAME}"' in test


@pytest.mark.slow
def test_inference_needs_no_package(contribution: Path, tmp_path: Path):
    image = np.random.default_rng(0).normal(100, 9, (34, 50, 33)).astype(np.float32)
    write_volume(tmp_path / "images" / "case.nii.gz", image)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    root = contribution / "models" / NAME
    command = [sys.executable, "-c", WITHOUT_PACKAGE, root, tmp_path / "images", tmp_path / "masks"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(root / "scripts" / "dckd_ext" / "__init__.py")
    assert (tmp_path / "masks" / "case_seg.nii.gz").is_file()


def test_large_weights_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    monkeypatch.setattr("dckd_ext.distribution.contribution.LARGE", 10**6)
    place, _ = write_contribution(root, tmp_path / "out")
    listed = yaml.safe_load((place / "large_files.yml").read_text())["large_files"]
    assert [entry["path"] for entry in listed] == ["models/model.pt"]
    assert len(listed[0]["hash_val"]) == 64
    assert not (place / "models" / "model.pt").exists()


def test_bundles_without_weights(tmp_path: Path):
    with pytest.raises(ValueError, match="hippocampus_distillation has no weights"):
        write_contribution(bundle("distillation"), tmp_path / "out")
