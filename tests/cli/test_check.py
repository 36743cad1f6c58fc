"""`dckd check DIR` finds each of the problems that it promises to find, all in one run."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nrrd
import numpy as np
import pytest

from dckd_ext.cli.check import check
from dckd_ext.data.survey import survey_case
from tests.conftest import bundle, ellipsoids, make_msd, write_volume
from tests.data.abus_files import SHAPE, lesion, write_abus, write_nrrd
from tests.data.dicom_examples import US_MULTI_FRAME, image, slices, values, write

SECTIONS = {"Train": [0, 1, 2, 3], "Validation": [100], "Test": [130]}


@pytest.fixture
def abus(tmp_path: Path) -> Path:
    return write_abus(tmp_path / "abus", SECTIONS)


def problems_of(folder: Path, capsys, **arguments) -> list[str]:
    """Run the command on a folder with problems; return its lines after the count."""
    with pytest.raises(SystemExit) as exit_:
        check(str(folder), **arguments)
    assert exit_.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("problem(s)"))
    assert lines[start] == f"{len(lines) - start - 1} problem(s)"
    return lines[start + 1 :]


def test_a_good_folder(abus: Path, capsys):
    write_nrrd(
        abus / "Train" / "MASK" / "MASK_003.nrrd", np.maximum(lesion(3), np.roll(lesion(3), 1, axis=0))
    )
    (abus / "Train" / "bbx_labels.csv").unlink()
    check(str(abus))
    head, training, validation, test, classes, _, end = capsys.readouterr().out.splitlines()
    assert end == "0 problem(s)"
    assert classes == "classes: 2 (by default: --bundle or --classes says otherwise)"
    assert head.split()[:3] == ["section", "cases", "kinds"]
    voxel = 0.2 * 0.073 * 0.475674 / 1000
    ml = f"{24 * voxel:.3g} / {24 * voxel:.3g} / {32 * voxel:.3g}"
    share = f"{100 * 24 / 960:.3g} / {100 * 24 / 960:.3g} / {100 * 32 / 960:.3g}"
    assert training.split("  ")[0] == "training"
    assert " 4 " in training
    assert "2 M, 2 B" in training
    assert "12 x 10 x 8" in training
    assert ml in training
    assert share in training
    assert "1 B" in validation
    assert "1 B" in test


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "a", "2": "b", "3": "c"},  # the Decathlon's form
        {"background": 0, "c": 3, "a": 1, "b": 2},  # nnU-Net's
    ],
)
def test_classes_of_dataset_json(labels: dict, tmp_path: Path, capsys):
    folder = make_msd(tmp_path / "data", cases=2)
    image, label = ellipsoids((20, 18, 16), 0)
    for file in (folder / "labelsTr").glob("*.nii.gz"):
        write_volume(file, np.where(image > image.mean(), 3, label).astype(np.uint8))
        write_volume(folder / "imagesTr" / file.name, image)
    listing = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**listing, "labels": labels}))
    check(str(folder))
    out = capsys.readouterr().out
    assert "classes: 4 (background, a, b, c: dataset.json)" in out
    assert "0 problem(s)" in out
    assert len(problems_of(folder, capsys, bundle=str(bundle("unet_student_segmentation")))) == 2
    assert len(problems_of(folder, capsys, classes=3)) == 2
    (folder / "dataset.json").write_text(json.dumps({**listing, "labels": {"0": "background", "2": "b"}}))
    with pytest.raises(ValueError, match=r"dataset\.json: labels should number the classes 0, 1, \.\.\."):
        check(str(folder))


def test_dicom_series_are_listed(tmp_path: Path, capsys):
    write(tmp_path / "in", slices(values(8, 7, 5), np.diag([1, 1, 2.0, 1])))
    write(tmp_path / "in", slices(values(8, 7, 1), np.eye(4), SeriesInstanceUID="1.2.9", SeriesNumber=5))
    write(tmp_path / "in", image(US_MULTI_FRAME, values(4, 7, 8, dtype=np.uint8), SeriesNumber=7))
    check(str(tmp_path / "in"))
    assert capsys.readouterr().out.splitlines() == [
        "3_T1_MPRAGE  MR  8 x 7 x 5 voxels  of 1 x 1 x 2 mm",
        "5_T1_MPRAGE  MR  8 x 7 x 1 voxels  one slice, expected several",
        "7_T1_MPRAGE  US  8 x 7 x 4 voxels  of ? x ? x ? mm",
    ]


def test_sizes_are_a_range(abus: Path, capsys):
    big = np.zeros((15, 10, 9), np.uint8)
    big[3:6, 2:6, 1:3] = 1  # where the table of case 2 has its box
    for kind in ("DATA", "MASK"):
        write_nrrd(abus / "Train" / kind / f"{kind}_002.nrrd", big)
    check(str(abus))
    assert "12-15 x 10 x 8-9" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "array", "header", "message"),
    [
        (
            "DATA",
            np.zeros((12, 10, 9), np.uint8),
            {},
            r"MASK_001.nrrd: has shape (12, 10, 8), expected that of the image: (12, 10, 9)",
        ),
        ("DATA", np.zeros(SHAPE, np.int16), {}, "DATA_001.nrrd: expected voxels of uint8, found int16"),
        ("MASK", lesion(1).astype(np.int32), {}, "MASK_001.nrrd: expected voxels of uint8, found int32"),
        (
            "MASK",
            lesion(1) * 255,
            {},
            "MASK_001.nrrd: found values [255], expected whole numbers from 0 to 1",
        ),
        ("MASK", np.zeros(SHAPE, np.uint8), {}, "MASK_001.nrrd: it has no foreground voxel"),
        (
            "MASK",
            lesion(1),
            {"space directions": np.diag([0.2, 0.1, 0.5])},
            "MASK_001.nrrd: lies elsewhere than the image: a corner is 0.297 mm off",
        ),
    ],
)
def test_one_bad_file(abus: Path, capsys, file: str, array, header, message: str):
    path = abus / "Train" / file / f"{file}_001.nrrd"
    write_nrrd(path, array, **header)
    (problem,) = problems_of(abus, capsys)
    assert message in problem
    assert problem.startswith(str(abus / "Train"))


def test_not_finite(abus: Path, capsys):
    image = np.zeros(SHAPE, np.float32)
    image[0, 0, :3] = np.nan, np.inf, 1
    write_nrrd(abus / "Train" / "DATA" / "DATA_001.nrrd", image)
    dtype, not_finite = problems_of(abus, capsys)
    assert dtype.endswith("DATA_001.nrrd: expected voxels of uint8, found float32")
    assert not_finite.endswith("DATA_001.nrrd: 2 voxels are NaN or infinite, expected finite intensities")


def test_colour(abus: Path, capsys):
    nrrd.write(str(abus / "Train" / "DATA" / "DATA_001.nrrd"), np.zeros((3, *SHAPE), np.uint8))
    (abus / "Test" / "DATA" / "DATA_130.nrrd").unlink()
    series = np.random.default_rng(0).integers(0, 9, (*SHAPE, 3), np.uint8)
    write_volume(abus / "Test" / "DATA" / "DATA_130.nii.gz", series, np.diag([-1, -1, 1, 1]))
    colour, channels = problems_of(abus, capsys)
    assert "DATA_001.nrrd: expected a volume with three axes and one value a voxel" in colour
    assert channels.endswith(
        "DATA_130.nii.gz: expected a 3D volume with 1 channel(s), found the shape (12, 10, 8, 3)"
    )


def test_truncated_and_empty_files(abus: Path, capsys):
    image, mask = abus / "Train" / "DATA" / "DATA_000.nrrd", abus / "Test" / "MASK" / "MASK_130.nrrd"
    image.write_bytes(image.read_bytes()[:-100])
    mask.write_bytes(b"")
    cut, empty = problems_of(abus, capsys)
    assert cut.startswith(f"{image}: cannot be read: EOFError")
    assert empty == f"{mask}: the file is empty"


def test_boxes(abus: Path, capsys):
    table = abus / "Train" / "bbx_labels.csv"
    table.write_text(
        "id,c_x,c_y,c_z,len_x,len_y,len_z\n"
        "0,1,3.5,1.5,2,3,1\n"  # lengths without the last voxel
        "1,3.0,4.5,2.5,3,4,2\n"  # a voxel away
        "2,3,3.5,1.5,3,6,2\n"  # two voxels longer
        "3,1.5,3.5,4,2,4,3\n"  # x and z exchanged
    )
    longer, turned = problems_of(abus, capsys)
    assert "MASK_002.nrrd: its foreground has the centre [3.0, 3.5, 1.5] and the lengths [3, 4, 2]" in longer
    assert "says [3.0, 3.5, 1.5] and [3.0, 6.0, 2.0]" in longer
    assert "reversed" not in longer
    assert "MASK_003" in turned
    assert turned.endswith("the same with the axes reversed")


def test_partners_duplicates_and_tables(abus: Path, capsys):
    (abus / "Train" / "MASK" / "MASK_000.nrrd").unlink()
    (abus / "Train" / "DATA" / "DATA_001.nrrd").unlink()
    write_nrrd(abus / "Train" / "DATA00_49" / "DATA_002.nrrd", np.zeros(SHAPE, np.uint8))
    for kind in ("DATA", "MASK"):  # in no table of Test, and in Train too
        write_nrrd(abus / "Test" / kind / f"{kind}_003.nrrd", lesion(3))
    text = "\n".join(problems_of(abus, capsys))
    for part in (
        "DATA_000.nrrd: there is no MASK_000.nrrd",
        "MASK_001.nrrd: there is no DATA_001.nrrd",
        "DATA_002.nrrd: the number 2 is also that of",
        "Test/DATA/DATA_003.nrrd: section training has the number 3 as well",
        "Train/labels.csv: rows without a volume: 1",
        "Train/bbx_labels.csv: rows without a volume: 1",
        "Test/labels.csv: volumes without a row: 3",
        "Test/bbx_labels.csv: volumes without a row: 3",
    ):
        assert part in text
    assert len(text.splitlines()) == 8


def test_broken_tables_and_empty_sections(abus: Path, capsys):
    (abus / "Train" / "labels.csv").write_text("case_id,label\n0,?\n")
    for kind in ("DATA", "MASK"):
        (abus / "Test" / kind / f"{kind}_130.nrrd").unlink()
    (abus / "Test" / "bbx_labels.csv").unlink()
    labels, rows, empty = problems_of(abus, capsys)
    assert labels == f"{abus}/Train/labels.csv: line 2: expected the label M or B, found '?'"
    assert rows == f"{abus}/Test/labels.csv: rows without a volume: 130"
    assert empty == f"{abus}/Test: it holds no volumes (DATA_NNN.nrrd or .nii.gz)"


def test_extent_and_another_spacing(abus: Path, capsys):
    found = problems_of(abus, capsys, nrrd_spacing=[0.2, 10, 0.5])
    assert len(found) == 6
    assert "extend over 2.4 x 100 x 4 mm, expected at most 200 x 60 x 250 mm" in found[0]
    with pytest.raises(ValueError, match="nrrd_spacing"):
        check(str(abus), nrrd_spacing=[0.2, 0.5])


def test_report(abus: Path, tmp_path: Path, capsys):
    (abus / "Train" / "MASK" / "MASK_000.nrrd").unlink()
    write_nrrd(abus / "Train" / "MASK" / "MASK_001.nrrd", np.zeros(SHAPE, np.uint8))
    out = tmp_path / "reports" / "check.csv"
    printed = problems_of(abus, capsys, out=str(out))
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["DATA_001", "DATA_002", "DATA_003", "DATA_100", "DATA_130", ""]
    assert [row["problems"] for row in rows if row["problems"]] == [printed[1], printed[0]]
    good = rows[1]
    assert (good["section"], good["kind"], good["size"]) == ("training", "B", "12x10x8")
    assert good["spacing_mm"] == "0.2x0.073x0.475674"
    assert int(good["foreground_voxels"]) == 24
    assert float(good["foreground_ml"]) == pytest.approx(24 * 0.2 * 0.073 * 0.475674 / 1000)
    assert float(good["foreground_share"]) == pytest.approx(24 / 960)


def test_decathlon(tmp_path: Path, capsys):
    folder = make_msd(tmp_path / "msd", cases=3)
    check(str(folder), classes=3)
    assert "0 problem(s)" in capsys.readouterr().out
    write_volume(folder / "labelsTr" / "hippocampus_000.nii.gz", np.full((3, 4, 5), 7, np.uint8))
    write_volume(folder / "imagesTr" / "extra.nii.gz", np.zeros((3, 4, 5), np.uint8))
    (folder / "imagesTr" / "hippocampus_001.nii.gz").unlink()
    extra, shape, values, missing = problems_of(folder, capsys, classes=3)
    assert extra.endswith("imagesTr/extra.nii.gz: dataset.json does not list it under training")
    assert "labelsTr/hippocampus_000.nii.gz: has shape (3, 4, 5)" in shape
    assert "found values [7], expected whole numbers from 0 to 2" in values
    assert missing.endswith("there is no such file")
    assert "hippocampus_001" in missing


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"training": [{"image": "a.nii"}]}'])
def test_bad_index(tmp_path: Path, content: str):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset\.json: expected "):
        check(str(tmp_path))


def test_no_cases(tmp_path: Path, capsys):
    (tmp_path / "dataset.json").write_text(json.dumps({"training": []}))
    assert problems_of(tmp_path, capsys) == [f"{tmp_path}/dataset.json: it lists no cases under training"]


@pytest.mark.slow
def test_from_the_command_line(abus: Path, tmp_path: Path):
    def dckd(*arguments: str) -> subprocess.CompletedProcess:
        code = "from dckd_ext.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, "check", *arguments], capture_output=True, text=True
        )

    good = dckd(str(abus), "--nrrd_spacing", "0.2,0.07,0.5")
    assert good.returncode == 0, good.stderr
    assert "0.2 x 0.07 x 0.5 mm" in good.stderr
    write_nrrd(abus / "Train" / "MASK" / "MASK_001.nrrd", np.zeros(SHAPE, np.uint8))
    bad = dckd(str(abus))
    assert bad.returncode == 1
    assert "1 problem(s)" in bad.stdout
    neither = dckd(str(tmp_path))
    assert neither.returncode == 1
    assert neither.stderr.startswith("dckd: ")
    assert "Traceback" not in neither.stderr


def test_an_interrupt_says_what_was_found_until_then(msd: Path, tmp_path: Path, monkeypatch, capsys):
    cases = iter(range(3))

    def interrupted(*arguments):
        if next(cases) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return survey_case(*arguments)

    monkeypatch.setattr("dckd_ext.data.survey.survey_case", interrupted)
    with pytest.raises(KeyboardInterrupt, match="2 of 6 cases are checked"):
        check(str(msd), out=str(tmp_path / "cases.csv"), classes=3)
    assert "0 problem(s)" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_written_is_found_first(msd: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("dckd_ext.data.survey.survey_case", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*/file/cases\.csv: "):
        check(str(msd), out=str(tmp_path / "file" / "cases.csv"))
