"""What pictures show: image, truth and masks on one grid, turned to right, front and top."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dckd_ext.report.pictures import _turned
from tests.inputs.files import File


@pytest.mark.parametrize("image", ["LAS", "PIR", "RAS"])
def test_axes_stored_otherwise_show_the_same(image: str, tmp_path: Path):
    """The label is stored LPS, one mask as NRRD; the oracle is nibabel's canonical volume."""
    shape = (22, 32, 16)
    files = {
        "truth": File(shape=shape, axcodes="LPS").write(tmp_path / "label", "label"),
        "plain": File(".nii", shape=shape, axcodes="SLA").write(tmp_path / "mask", "label"),
        "distilled": File(".nrrd", shape=shape, space="RAS").write(tmp_path / "nrrd", "label"),
    }
    stored = File(shape=shape, axcodes=image).write(tmp_path / "image", "image")
    shown, masks, edges = _turned(str(stored), files)
    expected = nib.as_closest_canonical(nib.load(stored))
    np.testing.assert_array_equal(shown, np.asarray(expected.dataobj))
    np.testing.assert_allclose(edges, expected.header.get_zooms(), atol=1e-5)
    truth = np.asarray(nib.as_closest_canonical(nib.load(files["truth"])).dataobj)
    assert set(masks) == set(files)
    for mask in masks.values():
        np.testing.assert_array_equal(mask, truth)


def test_a_mask_of_another_place_is_named(tmp_path: Path):
    image = File().write(tmp_path / "image", "image")
    mask = File(move=nib.affines.from_matvec(np.eye(3), [10, 0, 0])).write(tmp_path / "mask", "label")
    with pytest.raises(ValueError, match=r"mask of plain .*mask\.nii\.gz: lies elsewhere than image .*image"):
        _turned(str(image), {"plain": mask})
