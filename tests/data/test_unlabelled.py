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


def test_a_folder_that_holds_the_labelled_cases_and_their_labels(tmp_path, caplog):
    data = make_msd(tmp_path / "data", 2)
    with pytest.raises(ValueError, match="none of the 4 volumes is left, expected some that can be read"):
        unlabelled_cases(data, str(data))
    assert "4 volumes are known already" in caplog.text
    assert "hippocampus_001.nii.gz (label of case hippocampus_001)" in caplog.text
    test_image = write(data / "imagesTs" / "new.nii.gz", volume(7))
    assert [case["image"] for case in unlabelled_cases(data, str(data))] == [str(test_image)]


def test_copies_within_the_folder_are_used_once(tmp_path, caplog):
    first = write(tmp_path / "a.nii", volume(0))
    copy = write(tmp_path / "later" / "b.nrrd", volume(0))
    write(tmp_path / "c.nii", volume(1))
    both = [unlabelled_cases(tmp_path, None, section) for section in ("training", "validation")]
    assert [[case["case"] for case in cases] for cases in both] == [["unlabelled_c"], ["unlabelled_a"]]
    assert caplog.text.count(f"1 volumes are known already, not used again: {copy} (as {first})") == 1


def test_what_cannot_be_read_is_named_and_left_out(tmp_path, caplog):
    data = make_msd(tmp_path / "data", 2)
    write(tmp_path / "archive" / "a.nii", volume(0))
    broken = tmp_path / "archive" / "b.nii"
    broken.write_bytes(b"broken")
    assert [case["case"] for case in unlabelled_cases(tmp_path / "archive", str(data))] == ["unlabelled_a"]
    assert "1 volumes cannot be read, left out" in caplog.text
    assert str(broken) in caplog.text


def test_nothing_to_list_is_an_error(tmp_path):
    assert unlabelled_cases(None) == []
    with pytest.raises(FileNotFoundError, match="gone: found nothing, expected a folder of volumes"):
        unlabelled_cases(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="holds no NIfTI or NRRD file"):
        unlabelled_cases(tmp_path)
    (tmp_path / "b.nii").write_bytes(b"broken")
    with pytest.raises(FileNotFoundError, match=r"b\.nii: found a file, expected a folder"):
        unlabelled_cases(tmp_path / "b.nii")
    with pytest.raises(ValueError, match="none of the 1 volumes is left"):
        unlabelled_cases(tmp_path)
    write(tmp_path / "a.nii", volume(0))
    with pytest.raises(ValueError, match="1 of the 2 volumes is left, expected two or more"):
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
