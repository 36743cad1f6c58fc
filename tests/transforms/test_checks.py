from pathlib import Path

import numpy as np
import pytest
from monai.data import MetaTensor

from dckd_ext.transforms import CheckVolumed, check_foreground
from tests.conftest import write_volume
from tests.data.abus_files import write_nrrd


def volume(array, name: str) -> MetaTensor:
    return MetaTensor(np.asarray(array, np.float32), meta={"filename_or_obj": name})


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
        ValueError, match=r"l\.nii: has shape \(3, 4, 3\), expected that of image i\.nii: \(3, 3, 3\)"
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


def test_an_image_of_one_value_is_warned_of(caplog: pytest.LogCaptureFixture):
    flat = volume(np.full((1, 3, 3, 3), 7), "flat.nii")
    CheckVolumed()({"image": flat})
    assert caplog.messages == ["flat.nii: all voxels are 7: what is found in it means nothing"]
    flat[0, 2, 2, 2] = 8
    CheckVolumed()({"image": flat})
    assert len(caplog.messages) == 1


def test_foreground_stops_at_the_first(tmp_path: Path):
    empty, lesion = np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 5), np.uint8)
    lesion[1, 2, 3] = 1
    write_nrrd(tmp_path / "empty.nrrd", empty)
    write_volume(tmp_path / "lesion.nii.gz", lesion)
    cases = [{"label": str(tmp_path / name)} for name in ("empty.nrrd", "lesion.nii.gz", "is not read.nrrd")]
    check_foreground(cases)
    with pytest.raises(FileNotFoundError, match=r"is not read\.nrrd"):
        check_foreground([cases[0], cases[2]])


def test_no_foreground(tmp_path: Path):
    cases = []
    for number in range(3):
        path = write_nrrd(tmp_path / f"set{number % 2}" / f"{number}.nrrd", np.zeros((3, 4, 5), np.uint8))
        cases.append({"mask": str(path)})
    with pytest.raises(ValueError, match=r"none of the 3 masks has .*: .*set0/0.*, .*set1/1"):
        check_foreground(cases, key="mask")
