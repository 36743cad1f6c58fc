"""`dckd predict` on DICOM series: DICOM SEG and NIfTI masks, by the module and by the shipped file."""

import subprocess
import sys
import zipfile
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import onnx
import pytest

from dckd_ext.export import predict as module
from dckd_ext.export import predict_source
from tests.conftest import write_volume
from tests.data.dicom_examples import LPS, oblique, slices, values, write
from tests.export.test_predict import WHOLE, write_network

AFFINE = oblique(1.1, 0.9, 1.6)
VOXELS = values(14, 12, 9)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network that finds bright voxels."""
    file = tmp_path / "models" / "model.onnx"
    file.parent.mkdir()
    network = onnx.load(write_network(file, WHOLE))
    graph, node = network.graph, onnx.helper.make_node
    del graph.node[:]
    graph.node.extend([node("Neg", ["image"], ["dark"]), node("Concat", ["dark", "image"], ["pred"], axis=1)])
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    onnx.save(network, file)
    return file


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bright voxels are of class 1."""
    network = lambda windows: np.concatenate([np.full_like(windows, 100), windows], axis=1)  # noqa: E731
    made = module.Network(network, "numpy"), {**WHOLE}
    monkeypatch.setattr(module, "load_model", lambda *given: made)


@pytest.mark.usefixtures("bright")
@pytest.mark.parametrize("affine", [oblique(1, 1, 1), LPS @ np.diag([1.1, 0.9, 1.6, 1])])
def test_the_mask_of_a_series_is_that_of_the_same_volume_as_nifti(
    affine: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write(tmp_path / "dicom", slices(VOXELS, affine))
    write_volume(tmp_path / "nifti" / "a.nii.gz", VOXELS, affine)
    assert module.predict([tmp_path / "dicom", tmp_path / "nifti"], tmp_path / "out", "m", nifti=True) == {}
    names = ["3_T1_MPRAGE_seg.dcm", "3_T1_MPRAGE_seg.nii.gz", "a_seg.nii.gz"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    one, two = (nib.load(tmp_path / "out" / name) for name in names[1:])
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(two.dataobj))
    np.testing.assert_allclose(one.affine, affine, atol=1e-5)
    assert (one.header["sform_code"], one.header["qform_code"]) == (1, 1)
    expected = np.argwhere(np.asarray(two.dataobj) == 1)
    found = highdicom.seg.segread(tmp_path / "out" / names[0]).get_volume(combine_segments=True)
    places = nib.affines.apply_affine(LPS @ found.affine, np.argwhere(found.array == 1))
    expected = nib.affines.apply_affine(affine, expected)
    order = [np.lexsort(np.round(one, 2).T) for one in (places, expected)]
    np.testing.assert_allclose(places[order[0]], expected[order[1]], atol=1e-3)
    captured = capsys.readouterr()
    assert "3_T1_MPRAGE_seg.dcm" in captured.out
    assert "Nobody" not in captured.out + captured.err
    assert "secret" not in captured.out + captured.err


@pytest.mark.usefixtures("bright")
def test_a_series_that_cannot_be_read_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path / "in" / "a", slices(VOXELS, AFFINE))
    broken = slices(VOXELS, AFFINE, SeriesInstanceUID="1.2.3.5", SeriesNumber=4)
    broken[3].PixelData = broken[3].PixelData[:-20]
    write(tmp_path / "in" / "b", broken)
    failed = module.predict([tmp_path / "in"], tmp_path / "out", "m", series="*")
    assert list(failed) == [str(tmp_path / "in" / "4_T1_MPRAGE")]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["3_T1_MPRAGE_seg.dcm"]
    assert "4_T1_MPRAGE: failed: b/IM0003: its voxels cannot be read" in capsys.readouterr().err


@pytest.mark.usefixtures("bright")
def test_existing_masks_of_series(tmp_path: Path):
    write(tmp_path / "in", slices(VOXELS, AFFINE))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "3_T1_MPRAGE_seg.nii.gz").write_bytes(b"old")
    with pytest.raises(ValueError, match="1 of 1 masks are there already"):
        module.predict([tmp_path / "in"], tmp_path / "out", "m", nifti=True)
    assert module.predict([tmp_path / "in"], tmp_path / "out", "m") == {}


@pytest.mark.usefixtures("bright")
def test_series_of_several_patients_have_names_of_their_own(tmp_path: Path):
    for patient in ("x", "y"):
        write(tmp_path / patient, slices(VOXELS, AFFINE))
    assert module.predict([tmp_path / "x", tmp_path / "y"], tmp_path / "out", "m") == {}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x_seg.dcm", "y_seg.dcm"]


def test_without_highdicom_nothing_begins(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "in", slices(VOXELS, AFFINE))
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ValueError, match="DICOM needs the package highdicom: pip install pydicom highdicom"):
        module.predict([tmp_path / "in"], tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


def test_the_shipped_file_does_the_same(tmp_path: Path, model: Path):
    """From a zip, by itself, in one line where it is not clear which series."""
    (tmp_path / "predict.py").write_text(predict_source())
    write(tmp_path / "in", slices(VOXELS, AFFINE))
    write(tmp_path / "in", slices(VOXELS, AFFINE, SeriesInstanceUID="1.2.3.5", SeriesDescription="T2"))
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for file in (tmp_path / "in").iterdir():
            archive.write(file, f"../{file.name}")
    command = [sys.executable, "predict.py", "in.zip", "--out", "out"]
    listed = "3_T1_MPRAGE (MR, 9 slices); 3_T2 (MR, 9 slices)"
    unclear = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert unclear.returncode == 2
    assert unclear.stderr == f"predict: in.zip: holds 2 DICOM series, choose by --series: {listed}\n"
    done = subprocess.run(
        [*command, "--series", "T2"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert any(line.startswith("out/3_T2_seg.dcm  ") for line in done.stdout.splitlines())
    assert done.stderr == ""
