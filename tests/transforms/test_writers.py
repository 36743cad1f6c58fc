import errno
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage

from dckd_ext.transforms import SaveMaskd, WholeNibabelWriter

AFFINE = np.array([[0.0, 0.073, 0.0, -5.0], [0.2, 0.0, 0.0, 7.0], [0.0, 0.0, 0.475674, 1.0], [0, 0, 0, 1]])


def _label() -> MetaTensor:
    voxels = torch.arange(4 * 5 * 6, dtype=torch.uint8).reshape(1, 4, 5, 6)
    return MetaTensor(voxels, affine=torch.from_numpy(AFFINE), meta={"filename_or_obj": "DATA_000.nrrd"})


def _save(folder: Path, label: MetaTensor, resample: bool = False) -> Path:
    save = SaveImage(
        folder,
        output_postfix="seg",
        output_dtype=torch.uint8,  # type: ignore[arg-type]
        resample=resample,
        separate_folder=False,
        writer=WholeNibabelWriter,  # type: ignore[arg-type]
        print_log=False,
    )
    save(label)
    return folder / "DATA_000_seg.nii.gz"


def _full_disk(image, path):
    Path(path).write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_written(tmp_path: Path):
    image = nib.load(_save(tmp_path, _label()))
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asanyarray(image.dataobj), _label()[0].numpy())
    assert np.allclose(image.affine, AFFINE, atol=1e-6)


def test_voxels_are_not_converted_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    create = WholeNibabelWriter.create_backend_obj
    monkeypatch.setattr(
        WholeNibabelWriter,
        "create_backend_obj",
        lambda self, data, **kwargs: seen.append(data) or create(data, **kwargs),
    )
    label = _label()
    _save(tmp_path, label)
    assert seen[0].dtype == torch.uint8
    assert seen[0].data_ptr() == label.data_ptr()


def test_resampling_to_the_original_affine_still_works(tmp_path: Path):
    label = _label()
    label.meta["original_affine"] = AFFINE @ np.diag([2.0, 1.0, 1.0, 1.0])
    label.meta["spatial_shape"] = (2, 5, 6)
    image = nib.load(_save(tmp_path, label, resample=True))
    assert image.shape == (2, 5, 6)
    assert np.allclose(image.affine, label.meta["original_affine"], atol=1e-6)


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _save(tmp_path, _label())
    before = path.read_bytes()
    monkeypatch.setattr(nib, "save", _full_disk)
    with pytest.raises(RuntimeError, match=re.escape(f"cannot write {path}: No space left on device")):
        _save(tmp_path, _label() + 1)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_nothing_is_left_when_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nib, "save", _full_disk)
    writer = WholeNibabelWriter()
    writer.set_data_array(np.zeros((2, 2, 2)), channel_dim=None)
    with pytest.raises(OSError, match=r"a_seg\.nii\.gz: No space left") as caught:
        writer.write(tmp_path / "a_seg.nii.gz")
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    writer = WholeNibabelWriter()
    writer.set_data_array(np.zeros((2, 2, 2)), channel_dim=None)
    path = tmp_path / "out" / "a_seg.nii.gz"
    with pytest.raises(OSError, match=re.escape(f"cannot write {path}: ")):
        writer.write(path)
    assert (tmp_path / "out").read_text() == "a file"


def test_a_folder_where_the_file_should_be(tmp_path: Path):
    path = tmp_path / "a_seg.nii.gz"
    path.mkdir()
    writer = WholeNibabelWriter()
    writer.set_data_array(np.zeros((2, 2, 2)), channel_dim=None)
    with pytest.raises(OSError, match=re.escape(f"cannot write {path}: Is a directory")):
        writer.write(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_masks_are_named_by_their_case(tmp_path: Path):
    save = SaveMaskd("pred", tmp_path / "masks")
    for case in ("oslo_1.2", "rome_1.2"):  # of the same file name
        save({"pred": _label(), "case": case})
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
        *("oslo_1.2_seg.nii.gz", "rome_1.2_seg.nii.gz")
    ]
    image = nib.load(tmp_path / "masks" / "oslo_1.2_seg.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asanyarray(image.dataobj), _label()[0].numpy())
    assert np.allclose(image.affine, AFFINE, atol=1e-6)
