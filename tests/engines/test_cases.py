"""A bad case does not cost the others; a bad start costs nothing more."""

import errno
import gzip
import os
import re
import signal
from pathlib import Path

import nibabel as nib
import pytest
import torch
from monai.data import Dataset
from monai.engines import SupervisedEvaluator

from dckd_ext.engines import run_each_case
from dckd_ext.utils import FolderInUseError
from tests.bundles.test_inference import infer, student_weights  # noqa: F401 a fixture
from tests.conftest import ellipsoids, write_volume
from tests.utils.test_folders import holder


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
    assert "other.pt are not those of BasicUNet: " in chain(caught.value)
    assert "cases failed" not in chain(caught.value)


def test_an_interrupt_ends_it_and_what_is_whole_stays(
    volumes: Path,
    tmp_path: Path,
    student_weights: Path,  # noqa: F811
    monkeypatch,
    capsys,
):
    """A real signal, in the middle of the second mask."""
    real = nib.save

    def interrupted_at_b(image, filename):
        real(image, filename)
        if str(filename).endswith("b_seg.nii.gz"):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(nib, "save", interrupted_at_b)
    with pytest.raises(KeyboardInterrupt):
        infer(volumes, tmp_path / "out", student_weights)
    assert "interrupted: 1 of 3 cases are done" in capsys.readouterr().out
    assert written(tmp_path / "out") == ["a_seg.nii.gz"]


class Counting(Dataset):
    """Counts what is read of it."""

    read = 0

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


def counting() -> tuple[SupervisedEvaluator, Counting]:
    cases = Counting([{"image": f"{number}.nii"} for number in range(3)])
    return SupervisedEvaluator("cpu", [], torch.nn.Identity()), cases


def test_a_folder_that_cannot_be_written_to_is_found_before_the_first_case(tmp_path: Path):
    (tmp_path / "file").write_text("")
    evaluator, cases = counting()
    with pytest.raises(OSError, match="cannot write to the folder"):
        run_each_case(evaluator, cases, tmp_path / "file")
    assert cases.read == 0


def test_a_folder_that_another_run_has_is_found_before_the_first_case(tmp_path: Path):
    evaluator, cases = counting()
    with holder(tmp_path), pytest.raises(FolderInUseError):
        run_each_case(evaluator, cases, tmp_path)
    assert cases.read == 0
