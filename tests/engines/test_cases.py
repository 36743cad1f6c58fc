"""A bad case does not cost the others; a bad start costs nothing more."""

import errno
import gzip
import re
from pathlib import Path

import nibabel as nib
import pytest
import torch

from tests.bundles.test_inference import infer, student_weights  # noqa: F401 a fixture
from tests.conftest import ellipsoids, write_volume


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    for number, name in enumerate(["a", "b", "c"]):
        write_volume(tmp_path / "in" / f"{name}.nii.gz", ellipsoids((34, 18, 17), number)[0])
    return tmp_path / "in"


def chain(error: BaseException | None) -> str:
    """The texts of an error and its causes: MONAI puts one of its own first."""
    return "" if error is None else f"{error}\n{chain(error.__cause__)}"


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_others_are_done_and_the_bad_one_is_named(volumes: Path, tmp_path: Path, student_weights: Path):  # noqa: F811
    whole = gzip.decompress((volumes / "b.nii.gz").read_bytes())
    (volumes / "b.nii.gz").write_bytes(gzip.compress(whole)[:2000])
    with pytest.raises(RuntimeError) as caught:
        infer(volumes, tmp_path / "out", student_weights)
    assert re.search(r"1 of 3 cases failed.*\n.*b\.nii\.gz: ", chain(caught.value))
    assert written(tmp_path / "out") == ["a_seg.nii.gz", "c_seg.nii.gz"]
    assert nib.load(tmp_path / "out" / "c_seg.nii.gz").shape == (34, 18, 17)


def test_a_full_disk_leaves_no_half_file(volumes: Path, tmp_path: Path, student_weights: Path, monkeypatch):  # noqa: F811
    real = nib.save

    def full_at_b(image, filename):
        real(image, filename)
        if "b_seg" in str(filename):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib, "save", full_at_b)
    with pytest.raises(RuntimeError) as caught:
        infer(volumes, tmp_path / "out", student_weights)
    assert "No space left on device" in chain(caught.value)
    assert written(tmp_path / "out") == ["a_seg.nii.gz", "c_seg.nii.gz"]


def test_missing_weights_stop_at_once(volumes: Path, tmp_path: Path):
    with pytest.raises(RuntimeError) as caught:
        infer(volumes, tmp_path / "out", tmp_path / "absent.pt")
    assert "No weights at" in chain(caught.value)
    assert not (tmp_path / "out").exists()


def test_wrong_weights_stop_at_once(volumes: Path, tmp_path: Path):
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(RuntimeError) as caught:
        infer(volumes, tmp_path / "out", tmp_path / "other.pt")
    assert "Missing key" in chain(caught.value)
    assert "cases failed" not in chain(caught.value)
