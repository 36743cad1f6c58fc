import csv
import json
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest

from dckd_ext.data import msd_datalist, tdsc_datalist
from dckd_ext.phantom import write_phantoms
from dckd_ext.phantom.dataset import _sections

SMALL = {"shape": (32, 32, 24), "spacing": (1.2, 1.0, 1.8)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tdsc(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("tdsc"), 6, seed=3, **SMALL)


@pytest.fixture(scope="module")
def msd(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("msd"), 2, "msd", seed=3, **SMALL)


def test_tdsc_layout(tdsc: Path):
    expected = {"README.txt"}
    for section, numbers in {"Train": (0, 1, 2), "Validation": (3,), "Test": (4, 5)}.items():
        expected |= {f"{section}/labels.csv", f"{section}/bbx_labels.csv"}
        for number in numbers:
            expected |= {f"{section}/{kind}/{kind}_{number:03d}.nrrd" for kind in ("DATA", "MASK")}
    assert set(contents(tdsc)) == expected
    assert "synthetic" in (tdsc / "README.txt").read_text()


def test_tdsc_volumes_say_that_they_are_synthetic_and_nothing_of_the_spacing(tdsc: Path):
    image, header = nrrd.read(str(tdsc / "Train/DATA/DATA_001.nrrd"))
    mask, _ = nrrd.read(str(tdsc / "Train/MASK/MASK_001.nrrd"))
    assert image.dtype == mask.dtype == np.uint8
    assert image.shape == mask.shape == SMALL["shape"]
    assert set(np.unique(mask)) == {0, 1}
    assert image.std() > 10
    assert header["encoding"] == "gzip"
    assert "synthetic" in header["content"]
    np.testing.assert_array_equal(header["space directions"], np.eye(3))


def test_tdsc_tables_agree_with_the_masks(tdsc: Path):
    for section in ("Train", "Validation", "Test"):
        labels, boxes = rows(tdsc / section / "labels.csv"), rows(tdsc / section / "bbx_labels.csv")
        assert [row["case_id"] for row in labels] == [row["id"] for row in boxes]
        for label, box in zip(labels, boxes, strict=True):
            assert label["label"] in ("M", "B")
            assert label["data_path"] == f"DATA\\DATA_{int(box['id']):03d}.nrrd"
            voxels = np.argwhere(nrrd.read(str(tdsc / section / label["mask_path"].replace("\\", "/")))[0])
            low, high = voxels.min(0), voxels.max(0)
            assert [float(box[f"c_{axis}"]) for axis in "xyz"] == ((low + high) / 2).tolist()
            assert [int(box[f"len_{axis}"]) for axis in "xyz"] == (high - low + 1).tolist()


def test_tdsc_folders_are_read_as_the_open_set_is(tdsc: Path):
    cases = tdsc_datalist(tdsc, "all")
    assert [case["case_id"] for case in cases] == list(range(6))
    assert {case["kind"] for case in cases} <= {"M", "B"}
    assert len(tdsc_datalist(tdsc, "training")) == 3


def test_msd_layout(msd: Path):
    names = {f"{folder}/phantom_{n:03d}.nii.gz" for folder in ("imagesTr", "labelsTr") for n in (0, 1)}
    assert set(contents(msd)) == names | {"README.txt", "dataset.json"}
    index = json.loads((msd / "dataset.json").read_text())
    assert index["labels"] == {"0": "background", "1": "lesion"}
    assert "synthetic" in index["name"]
    assert "synthetic" in index["description"]
    assert index["numTraining"] == len(index["training"]) == 2
    assert len(msd_datalist(str(msd), "all", str(msd / ".split.json"))) == 2
    (msd / ".split.json").unlink()


def test_msd_volumes(msd: Path):
    image = nib.load(msd / "imagesTr/phantom_000.nii.gz")
    mask = nib.load(msd / "labelsTr/phantom_000.nii.gz")
    for volume in (image, mask):
        np.testing.assert_allclose(volume.affine, np.diag([*SMALL["spacing"], 1]))
        assert volume.get_data_dtype() == np.uint8
        assert b"synthetic" in volume.header["descrip"].item()
        assert volume.header.get_xyzt_units()[0] == "mm"
    assert set(np.unique(mask.dataobj)) == {0, 1}


@pytest.mark.parametrize("layout", ["tdsc", "msd"])
def test_the_same_settings_give_the_same_bytes(tdsc: Path, msd: Path, tmp_path: Path, layout):
    first, count = (tdsc, 6) if layout == "tdsc" else (msd, 2)
    again = write_phantoms(tmp_path / "again", count, layout, seed=3, **SMALL)
    assert contents(again) == contents(first)


@pytest.mark.slow
def test_the_files_do_not_depend_on_the_number_of_processes(tdsc: Path, tmp_path: Path):
    assert contents(write_phantoms(tmp_path / "two", 6, seed=3, workers=2, **SMALL)) == contents(tdsc)


def test_an_interrupted_call_is_taken_up(tdsc: Path, tmp_path: Path):
    folder = tmp_path / "resumed"
    for name, data in contents(tdsc).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    kept = folder / "Train/DATA/DATA_000.nrrd"
    before = kept.stat().st_mtime_ns
    for name in (
        "Train/MASK/MASK_001.nrrd",
        "Test/DATA/DATA_005.nrrd",
        "Test/labels.csv",
        "Test/bbx_labels.csv",
    ):
        (folder / name).unlink()
    write_phantoms(folder, 6, seed=3, **SMALL)
    assert contents(folder) == contents(tdsc)
    assert kept.stat().st_mtime_ns == before


def test_folders_of_others_are_left_alone(tdsc: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(
        FileExistsError, match="expected an empty folder, or one written with the same settings"
    ):
        write_phantoms(tmp_path, 2, **SMALL)
    with pytest.raises(FileExistsError, match="exists"):
        write_phantoms(tdsc, 6, seed=4, **SMALL)
    with pytest.raises(FileExistsError, match="exists"):
        write_phantoms(tmp_path / "mine.txt", 2, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt"]


def test_cases_without_lesion_and_with_several(tmp_path: Path):
    none = write_phantoms(tmp_path / "none", 2, lesions=0, **SMALL)
    assert rows(none / "Train/labels.csv") == []
    assert not nrrd.read(str(none / "Train/MASK/MASK_000.nrrd"))[0].any()
    many = write_phantoms(tmp_path / "many", 1, lesions=2, lesion_ml=(0.2, 0.4), **SMALL)
    (box,) = rows(many / "Train/bbx_labels.csv")
    voxels = np.argwhere(nrrd.read(str(many / "Train/MASK/MASK_000.nrrd"))[0])
    assert [int(box[f"len_{axis}"]) for axis in "xyz"] == (np.ptp(voxels, axis=0) + 1).tolist()


@pytest.mark.parametrize(
    ("count", "shares", "sizes"),
    [
        (200, (0.5, 0.15, 0.35), [100, 30, 70]),
        (1, (0.5, 0.15, 0.35), [1]),
        (2, (0.5, 0.15, 0.35), [1, 1]),
        (3, (0.5, 0.15, 0.35), [1, 1, 1]),
        (10, (2, 1, 1), [5, 3, 2]),
        (4, (0, 0, 1), [1, 1, 2]),
        (7, (1, 1, 0), [4, 3]),
    ],
)
def test_sections(count, shares, sizes):
    sections = _sections(count, shares)
    assert [len(numbers) for numbers in sections.values()] == sizes
    assert [number for numbers in sections.values() for number in numbers] == list(range(count))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layout": "nifti"}, "layout: expected one of tdsc, msd, found 'nifti'"),
        ({"count": 0}, "count: expected 1 or more, found 0"),
        ({"workers": 0}, "workers: expected 1 or more"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"shares": (1, 1)}, "shares: expected three shares"),
        ({"shares": (0, 0, 0)}, "shares"),
        ({"shape": (8, 8, 8)}, "shape"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path: Path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_phantoms(**{"out": tmp_path / "out", "count": 2, **SMALL, **wrong})
    assert not (tmp_path / "out").exists()
