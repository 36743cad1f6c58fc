"""Masks as files; tests/data/test_volumes.py has where other readers show them."""

import errno
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from dckd_ext.transforms import SaveMaskd
from tests.conftest import write_volume

AFFINE = np.array([[0.0, 0.073, 0.0, -5.0], [0.2, 0.0, 0.0, 7.0], [0.0, 0.0, 0.475674, 1.0], [0, 0, 0, 1]])


def _label() -> MetaTensor:
    voxels = torch.arange(4 * 5 * 6, dtype=torch.uint8).reshape(1, 4, 5, 6)
    return MetaTensor(voxels, affine=torch.from_numpy(AFFINE), meta={"filename_or_obj": "DATA_000.nrrd"})


def _save(folder: Path, label: MetaTensor, case: str = "a") -> Path:
    SaveMaskd("pred", folder)({"pred": label, "case": case})
    return folder / f"{case}_seg.nii.gz"


def _full_disk(image, path):
    Path(path).write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_what_is_written(tmp_path: Path, dtype: torch.dtype):
    image = nib.load(_save(tmp_path / "masks", _label().to(dtype)))
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asanyarray(image.dataobj), _label()[0].numpy())
    assert np.allclose(image.affine, AFFINE, atol=1e-6)


def test_voxels_are_not_copied_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr("dckd_ext.transforms.writers.mask_image", lambda mask, *rest: seen.append(mask))
    monkeypatch.setattr(nib, "save", lambda image, path: Path(path).write_bytes(b"x"))
    label = _label()
    _save(tmp_path, label)
    assert seen[0].ctypes.data == label.data_ptr()


@pytest.mark.parametrize("shape", [(32, 44, 1), (1, 44, 30), (1, 1, 1)])
def test_axes_of_one_voxel_stay(shape: tuple[int, ...], tmp_path: Path):
    image = write_volume(tmp_path / "a.nii", np.zeros(shape, np.float32), AFFINE)
    affine = torch.as_tensor(nib.load(image).affine)
    mask = MetaTensor(torch.ones(1, *shape), affine=affine, meta={"filename_or_obj": str(image)})
    assert nib.load(_save(tmp_path, mask)).shape == shape


def test_the_header_is_the_image_s(tmp_path: Path):
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), None)
    image.header.set_sform(AFFINE, 4)
    image.header.set_qform(np.diag([2.0, 2, 2, 1]), 1)
    nib.save(image, tmp_path / "DATA_000.nii")
    label = _label()
    label.meta["filename_or_obj"] = str(tmp_path / "DATA_000.nii")
    label.affine = torch.as_tensor(nib.load(tmp_path / "DATA_000.nii").affine)
    found, expected = nib.load(_save(tmp_path, label)).header, nib.load(tmp_path / "DATA_000.nii").header
    for code in ("sform_code", "qform_code"):
        assert found[code] == expected[code] > 0
    np.testing.assert_array_equal(found.get_qform(), expected.get_qform())
    np.testing.assert_array_equal(found.get_sform(), expected.get_sform())
    label.affine = torch.eye(4)  # no longer on the image's grid
    assert np.array_equal(nib.load(_save(tmp_path, label)).affine, np.eye(4))


def test_several_channels_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"classes in one channel, found the shape \(2, 4, 5, 6\)"):
        _save(tmp_path, MetaTensor(torch.zeros(2, 4, 5, 6)))
    assert list(tmp_path.iterdir()) == []


def test_masks_are_named_by_their_case(tmp_path: Path):
    for case in ("oslo_1.2", "rome_1.2"):  # of the same file name
        _save(tmp_path / "masks", _label(), case)
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
        *("oslo_1.2_seg.nii.gz", "rome_1.2_seg.nii.gz")
    ]


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _save(tmp_path, _label())
    before = path.read_bytes()
    monkeypatch.setattr(nib, "save", _full_disk)
    with pytest.raises(OSError, match=re.escape(f"cannot write {path}: No space left on device")) as caught:
        _save(tmp_path, _label() + 1)
    assert caught.value.errno == errno.ENOSPC
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match=re.escape(f"cannot write {tmp_path / 'out' / 'a_seg.nii.gz'}: ")):
        _save(tmp_path / "out", _label())
    assert (tmp_path / "out").read_text() == "a file"


def test_a_folder_where_the_file_should_be(tmp_path: Path):
    path = tmp_path / "a_seg.nii.gz"
    path.mkdir()
    with pytest.raises(OSError, match=re.escape(f"cannot write {path}: Is a directory")):
        _save(tmp_path, _label())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
