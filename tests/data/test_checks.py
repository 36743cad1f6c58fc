from pathlib import Path

import numpy as np
import pytest
from monai.data import MetaTensor
from monai.transforms import LoadImage

from dckd_ext.data import CheckVolumed, ReadVolumed
from tests.conftest import write_volume


def volume(array, name: str) -> MetaTensor:
    return MetaTensor(np.asarray(array, np.float32), meta={"filename_or_obj": name})


def test_reads_like_monai(tmp_path: Path):
    image = write_volume(tmp_path / "a.nii.gz", np.random.default_rng(0).random((4, 5, 6)).astype(np.float32))
    read = ReadVolumed(keys=["image", "label"])({"image": str(image), "label": str(image), "case": "a"})
    np.testing.assert_array_equal(read["image"], LoadImage()(str(image)))
    assert read["case"] == "a"


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"label: there is no file .*gone\.nii\.gz"):
        ReadVolumed(keys="label")({"label": str(tmp_path / "gone.nii.gz")})


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_truncated_file_is_named(tmp_path: Path, keep: int):
    path = write_volume(tmp_path / "cut.nii.gz", np.random.default_rng(0).random((9, 9, 9)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"image: cannot read .*cut\.nii\.gz"):
        ReadVolumed(keys="image")({"image": str(path)})


def test_good_volumes_pass():
    data = {"image": volume(np.ones((1, 3, 3, 3)), "i"), "label": volume(np.full((1, 3, 3, 3), 2), "l")}
    assert CheckVolumed(label_key="label", num_classes=3)(data) == data


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad: float):
    array = np.ones((1, 3, 3, 3))
    array[0, 1, 1, 1] = bad
    with pytest.raises(ValueError, match=r"image scan\.nii: 1 voxels are NaN or infinite"):
        CheckVolumed()({"image": volume(array, "scan.nii")})


def test_other_shape_of_label():
    data = {"image": volume(np.ones((1, 3, 3, 3)), "i.nii"), "label": volume(np.ones((1, 3, 4, 3)), "l.nii")}
    with pytest.raises(
        ValueError, match=r"l\.nii has shape \(3, 4, 3\), expected that of image i\.nii: \(3, 3, 3\)"
    ):
        CheckVolumed(label_key="label")(data)


@pytest.mark.parametrize("value", [3, -1, 0.5])
def test_label_outside_the_classes(value: float):
    label = np.zeros((1, 3, 3, 3))
    label[0, 0, 0, 0] = value
    data = {"image": volume(np.ones((1, 3, 3, 3)), "i"), "label": volume(label, "l.nii")}
    with pytest.raises(ValueError, match=r"label l\.nii: found values .*from 0 to 2"):
        CheckVolumed(label_key="label", num_classes=3)(data)


@pytest.mark.parametrize("shape", [(3, 4, 4, 4), (1, 4, 4)])
def test_other_channels(shape):
    with pytest.raises(ValueError, match=r"image x: expected a 3D volume with 1 channel"):
        CheckVolumed()({"image": volume(np.ones(shape), "x")})
