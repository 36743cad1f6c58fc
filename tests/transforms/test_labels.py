from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from dckd_ext.transforms.labels import read_label, read_label_for, whole_numbers
from tests.conftest import write_volume

CLASSES = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.uint8)
AFFINE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.2, 0.07, 0.5]), [1.0, 2.0, 3.0]
)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_nifti_of_any_type(tmp_path: Path, dtype):
    path = write_volume(tmp_path / "label.nii.gz", CLASSES.astype(dtype), AFFINE)
    label, spacing = read_label(path)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, CLASSES)
    assert spacing == pytest.approx([0.2, 0.07, 0.5])


def test_scaled_nifti(tmp_path: Path):
    image = nib.Nifti1Image(CLASSES.astype(np.float32), AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "label.nii")
    stored = nib.load(tmp_path / "label.nii").dataobj.get_unscaled()
    assert stored.max() > 2  # or no scaling is tried
    np.testing.assert_array_equal(read_label(tmp_path / "label.nii")[0], CLASSES)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nrrd_has_the_spacing_of_the_prediction(tmp_path: Path, dtype):
    path = tmp_path / "MASK_000.nrrd"
    nrrd.write(str(path), CLASSES.astype(dtype), {"space directions": np.eye(3), "space origin": [0, 0, 0]})
    label, spacing = read_label(path)
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, CLASSES)
    assert spacing is None
    prediction = MetaTensor(torch.zeros(1, 5, 6, 7), affine=torch.from_numpy(AFFINE))
    assert read_label_for(prediction, path)[1] == pytest.approx([0.2, 0.07, 0.5])
    with pytest.raises(ValueError, match=r"MASK_000\.nrrd.*affine.*found Tensor"):
        read_label_for(prediction.as_tensor(), path)


def test_nifti_keeps_its_own_spacing(tmp_path: Path):
    path = write_volume(tmp_path / "label.nii.gz", CLASSES, AFFINE)
    prediction = MetaTensor(torch.zeros(1, 5, 6, 7), affine=torch.eye(4))
    assert read_label_for(prediction, path)[1] == pytest.approx([0.2, 0.07, 0.5])


@pytest.mark.parametrize("name", ["gone.nii.gz", "gone.nrrd"])
def test_missing_file_is_named(tmp_path: Path, name):
    with pytest.raises(FileNotFoundError, match=name):
        read_label(tmp_path / name)


@pytest.mark.parametrize("name", ["cut.nii.gz", "cut.nrrd"])
def test_truncated_file_is_named(tmp_path: Path, name):
    whole = tmp_path / f"whole_{name}"
    noise = np.random.default_rng(0).integers(0, 99, (40, 40, 40)).astype(np.uint8)
    if name.endswith("nrrd"):
        nrrd.write(str(whole), noise)
    else:
        write_volume(whole, noise)
    (tmp_path / name).write_bytes(whole.read_bytes()[:20000])
    with pytest.raises(ValueError, match=name):
        read_label(tmp_path / name)


def test_rounding_and_types():
    volume = np.array([[0.4, 0.6], [254.6, 3.0]], order="F")
    np.testing.assert_array_equal(whole_numbers(volume), [[0, 1], [255, 3]])
    for value, dtype in ((-1, np.int32), (256, np.int32), (255.4, np.uint8)):
        rounded = whole_numbers(np.array([0.0, value]))
        assert rounded.dtype == dtype
        assert rounded.tolist() == [0, round(value)]
    same = np.ones((2, 2), np.uint8)
    assert whole_numbers(same) is same
    assert whole_numbers(np.array([True, False])).tolist() == [1, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_what_is_no_number(tmp_path: Path, value):
    volume = CLASSES.astype(np.float32)
    volume[2, 2, 2] = value
    with pytest.raises(ValueError, match=r"bad\.nii.*NaN or infinite"):
        read_label(write_volume(tmp_path / "bad.nii", volume))
