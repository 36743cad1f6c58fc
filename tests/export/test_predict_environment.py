"""`predict.py` from an unpacked zip, in an environment without torch and monai, against the bundle itself."""

import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dckd_ext.distribution import pack_bundles
from dckd_ext.export import export_bundle
from tests.conftest import ellipsoids, workflow, write_volume
from tests.export.conftest import weighted_copy
from tests.export.test_predict import GRIDS

pytestmark = pytest.mark.slow
SHAPES = {"half": (64, 50, 61), "oblique_half": (64, 50, 61), "thirds": (60, 81, 21)}


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with numpy, nibabel and onnxruntime alone."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    packages = ["numpy", "nibabel", "onnxruntime"]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True, timeout=600)
    without = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('torch', 'monai', 'scipy'))))"
    assert subprocess.run([str(python), "-c", without]).returncode == 0
    return python


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    for number, (name, affine) in enumerate(GRIDS.items()):
        image = ellipsoids(SHAPES.get(name, (37, 42, 29)), number)[0]
        write_volume(folder / f"{name}.nii.gz", image, affine)
    write_volume(folder / "tiny.nii", ellipsoids((11, 9, 40), 3)[0])
    oblique = GRIDS["oblique"]
    write_volume(folder / "uint8.nii", ellipsoids((40, 37, 33), 3)[0].clip(0, 255).astype(np.uint8), oblique)
    write_volume(folder / "float64.nii", ellipsoids((40, 37, 33), 4)[0].astype(np.float64), oblique)
    scaled = nib.Nifti1Image(ellipsoids((40, 37, 33), 5)[0], np.eye(4))
    scaled.header.set_data_dtype(np.int16)  # nibabel writes a slope
    nib.save(scaled, folder / "slope.nii.gz")
    assert nib.load(folder / "slope.nii.gz").dataobj.slope != 1
    return folder


def agree(bundle_masks: Path, exported_masks: Path) -> None:
    names = sorted(path.name for path in bundle_masks.iterdir())
    assert names == sorted(path.name for path in exported_masks.iterdir())
    for name in names:
        one, two = nib.load(bundle_masks / name), nib.load(exported_masks / name)
        np.testing.assert_allclose(one.affine, two.affine, atol=1e-6)
        for key in ("qform_code", "sform_code", "pixdim", "xyzt_units", "datatype"):
            np.testing.assert_allclose(one.header[key], two.header[key], atol=1e-6)
        a, b = np.asarray(one.dataobj), np.asarray(two.dataobj)
        assert a.shape == b.shape
        for number in range(1, a.max() + 1):
            both = np.count_nonzero(a == number) + np.count_nonzero(b == number)
            assert 2 * np.count_nonzero((a == number) & (b == number)) >= 0.999 * both, name


@pytest.mark.parametrize("kind", ["unet_student", "hrnet_student"])
def test_masks_are_the_bundles(kind: str, bare_python: Path, volumes: Path, tmp_path: Path):
    root = weighted_copy(f"{kind}_segmentation", "hippocampus", tmp_path)
    export_bundle(root)
    pack_bundles([str(root)], str(tmp_path / "release"), "")
    with zipfile.ZipFile(next((tmp_path / "release").glob("*.zip"))) as packed:
        packed.extractall(tmp_path / "user")
    command = [bare_python, f"user/{root.name}/predict.py", volumes, "--out", "exported", "--threads", "1"]
    command += ["--overlap", "0.25"]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    flow = workflow(
        f"{kind}_segmentation",
        "inference.yaml",
        "inference",
        dataset_dir=str(volumes),
        output_dir=str(tmp_path / "bundle"),
        device="cpu",
        overlap=0.25,
    )
    flow.run()
    agree(tmp_path / "bundle", tmp_path / "exported")


def test_nrrd_names_the_package(bare_python: Path, tmp_path: Path):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    export_bundle(root)
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n")
    command = [str(bare_python), str(root / "predict.py"), str(tmp_path / "a.nrrd"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "NRRD files need the package pynrrd: pip install pynrrd" in done.stderr
