from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest

from dckd_ext.data.unlabelled import FIRST_ID, unlabelled_cases
from tests.conftest import make_msd


def volume(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (6, 7, 5)).astype(np.uint8)


def write(file: Path, voxels: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.name.endswith(".nrrd"):
        nrrd.write(str(file), voxels)
    else:
        nib.save(nib.Nifti1Image(voxels, np.diag([2, 1, 1, 1])), file)
    return file


def test_finds_volumes_at_any_depth_in_both_formats(tmp_path):
    write(tmp_path / "a.nii.gz", volume(0))
    write(tmp_path / "oslo" / "2020" / "b.nii", volume(1))
    write(tmp_path / "rome" / "c.nrrd", volume(2))
    (tmp_path / "notes.txt").write_text("no volume")
    (tmp_path / ".hidden.nii").write_text("no volume")
    found = unlabelled_cases(tmp_path, section="validation") + unlabelled_cases(tmp_path)
    assert [case["case"] for case in found] == ["unlabelled_a", "unlabelled_b", "unlabelled_c"]
    assert [case["case_id"] for case in found] == [FIRST_ID, FIRST_ID + 1, FIRST_ID + 2]
    assert all(case["label"] is None for case in found)


def test_copies_of_labelled_cases_are_found_by_content_and_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = make_msd(tmp_path / "data", 2)
    source = sorted((data / "imagesTr").glob("*.nii.gz"))[0]
    voxels = np.asarray(nib.load(source).dataobj)
    copy = write(tmp_path / "archive" / "another_name.nii", voxels.astype(np.float64))
    write(tmp_path / "archive" / "new.nii", volume(3))
    found = unlabelled_cases(tmp_path / "archive", str(data))
    assert [case["case"] for case in found] == ["unlabelled_new"]
    name = source.name.removesuffix(".nii.gz")
    assert f"{copy} (labelled case {name})" in caplog.text
    assert "1 of 2 volumes without labels take part" in caplog.text


def test_what_cannot_be_read_is_named_and_left_out(tmp_path, caplog):
    write(tmp_path / "a.nii", volume(0))
    (tmp_path / "b.nii").write_bytes(b"broken")
    assert [case["case"] for case in unlabelled_cases(tmp_path, section="validation")] == ["unlabelled_a"]
    assert "1 volumes cannot be read, left out" in caplog.text
    assert str(tmp_path / "b.nii") in caplog.text


def test_nothing_to_list_is_an_error(tmp_path):
    assert unlabelled_cases(None) == []
    with pytest.raises(FileNotFoundError, match="holds no NIfTI or NRRD file"):
        unlabelled_cases(tmp_path)
    (tmp_path / "b.nii").write_bytes(b"broken")
    with pytest.raises(ValueError, match="none of the 1 volumes is left"):
        unlabelled_cases(tmp_path)


def test_without_labels_every_fifth_volume_is_kept_for_the_validation(tmp_path):
    for number in range(11):
        write(tmp_path / f"{number:02}.nii", volume(number))
    kept = [case["case"] for case in unlabelled_cases(tmp_path, None, "validation")]
    rest = [case["case"] for case in unlabelled_cases(tmp_path, None, "training")]
    assert kept == ["unlabelled_00", "unlabelled_05", "unlabelled_10"]
    assert len(rest) == 8
    assert not {*kept} & {*rest}
    data = make_msd(tmp_path / "data", 2)
    assert unlabelled_cases(tmp_path, str(data), "validation") == []
    assert len(unlabelled_cases(tmp_path, str(data), "training")) >= 11
