from pathlib import Path

import pytest

from dckd_ext.data import tdsc_datalist
from dckd_ext.data.tdsc import read_boxes, read_kinds
from tests.conftest import write_volume
from tests.data.abus_files import lesion, write_abus


@pytest.fixture
def abus(tmp_path: Path) -> Path:
    return write_abus(tmp_path / "abus", {"Train": [0, 3, 12], "Validation": [100], "Test": [130, 131]})


def numbers(cases) -> list[int]:
    return [case["case_id"] for case in cases]


def test_sections(abus: Path):
    assert numbers(tdsc_datalist(abus, "training")) == [0, 3, 12]
    assert numbers(tdsc_datalist(abus, "validation")) == [100]
    assert numbers(tdsc_datalist(str(abus), "test")) == [130, 131]
    assert numbers(tdsc_datalist(abus, "all")) == [0, 3, 12, 100, 130, 131]
    assert numbers(tdsc_datalist(abus, "all", limit=4)) == [0, 3, 12, 100]


def test_a_case(abus: Path):
    assert tdsc_datalist(abus, "training")[1] == {
        "image": str(abus / "Train" / "DATA" / "DATA_003.nrrd"),
        "label": str(abus / "Train" / "MASK" / "MASK_003.nrrd"),
        "case": "DATA_003",
        "case_id": 3,
        "kind": "M",
    }


def test_shards_are_searched(abus: Path):
    write_abus(abus, {"Train": [50]}, shard="50_99")
    cases = tdsc_datalist(abus, "training")
    assert numbers(cases) == [0, 3, 12, 50]
    assert cases[-1]["image"].endswith("Train/DATA50_99/DATA_050.nrrd")
    assert [case["kind"] for case in cases] == ["", "", "", "B"]  # labels.csv has the last shard's rows alone


def test_linked_shards_are_searched(abus: Path, tmp_path: Path):
    elsewhere = write_abus(tmp_path / "elsewhere", {"Train": [70]}) / "Train"
    for kind in ("DATA", "MASK"):
        (abus / "Train" / f"{kind}70").symlink_to(elsewhere / kind)
    assert numbers(tdsc_datalist(abus, "training")) == [0, 3, 12, 70]


def test_numbers_match_whatever_their_zeros(abus: Path):
    folder = abus / "Train" / "MASK"
    (folder / "MASK_003.nrrd").rename(folder / "MASK_3.nrrd")
    assert tdsc_datalist(abus, "training")[1]["label"].endswith("MASK_3.nrrd")


def test_nifti_is_taken_and_other_files_are_not(abus: Path):
    for kind in ("DATA", "MASK"):
        write_volume(abus / "Validation" / kind / f"{kind}_101.nii.gz", lesion(1))
    for name in ("._DATA_102.nrrd", "DATA_103.nrrd.part", "DATA_104.png", "DATA_x.nrrd", "PRED_105.nrrd"):
        (abus / "Validation" / "DATA" / name).touch()
    cases = tdsc_datalist(abus, "validation")
    assert [case["case"] for case in cases] == ["DATA_100", "DATA_101"]


def test_without_tables(abus: Path):
    (abus / "Train" / "labels.csv").unlink()
    assert {case["kind"] for case in tdsc_datalist(abus, "training")} == {""}


@pytest.mark.parametrize(
    "row",
    ["3,M,DATA\\DATA_003.nrrd,x", "3.0,m ,,", "3,M,DATA/DATA_003.nrrd,x", "3.0 , M,D:\\a b\\DATA_003.nrrd,x"],
)
def test_rows_of_labels(abus: Path, row: str):
    table = abus / "Train" / "labels.csv"
    table.write_bytes(b"\xef\xbb\xbfcase_id,label,data_path,mask_path\r\n" + row.encode() + b"\r\n")
    assert read_kinds(abus / "Train") == {3: "M"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,kind\n0,M\n",
            r"labels\.csv: expected the columns \['case_id', 'label'\], found \['id', 'kind'\]",
        ),
        ("case_id,label\n0,X\n", r"labels\.csv, line 2: expected the label M or B, found 'X'"),
        ("case_id,label\n0,M\nzero,M\n", r"labels\.csv, line 3: expected a whole number as id, found 'zero'"),
        ("case_id,label\n1.5,M\n", r"line 2: expected a whole number as id, found '1\.5'"),
        ("case_id,label\nnan,M\n", "line 2: expected a whole number as id, found 'nan'"),
        ("case_id,label\ninf,M\n", "line 2: expected a whole number as id, found 'inf'"),
        ("case_id,label\n3\n", "line 2: expected the label M or B, found ''"),
        ("", r"labels\.csv: expected the columns .* found None"),
    ],
)
def test_bad_labels(abus: Path, text: str, message: str):
    (abus / "Train" / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        tdsc_datalist(abus, "training")


def test_boxes(abus: Path):
    (abus / "Test" / "bbx_labels.csv").write_text(
        "id,c_x,c_y,c_z,len_x,len_y,len_z\n130.0,1.5,2,3,10,20,30.5\n"
    )
    boxes = read_boxes(abus / "Test")
    assert list(boxes) == [130]
    assert boxes[130].centre.tolist() == [1.5, 2, 3]
    assert boxes[130].lengths.tolist() == [10, 20, 30.5]
    (abus / "Test" / "bbx_labels.csv").write_text("id,c_x,c_y,c_z,len_x,len_y,len_z\n130,1,2,3,?,20,30\n")
    with pytest.raises(ValueError, match=r"bbx_labels\.csv, line 2: expected numbers"):
        read_boxes(abus / "Test")


def test_missing_section(abus: Path, tmp_path: Path):
    for file in sorted((abus / "Test").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    with pytest.raises(ValueError, match=r"section test: .*abus holds no volumes"):
        tdsc_datalist(abus, "test")
    (abus / "Test").rmdir()
    with pytest.raises(FileNotFoundError, match=r"section test: there is no folder .*abus/Test"):
        tdsc_datalist(abus, "test")
    assert numbers(tdsc_datalist(abus, "all")) == [0, 3, 12, 100]
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*Train or .*Validation or .*Test"):
        tdsc_datalist(tmp_path / "elsewhere", "all")


@pytest.mark.parametrize("section", ["Train", "val", 0, "1", ""])
def test_unknown_section(abus: Path, section):
    with pytest.raises(
        ValueError, match=f"unknown section {section!r}: .*training, validation, test, and all"
    ):
        tdsc_datalist(abus, section)


def test_all_missing_partners_are_listed(abus: Path):
    (abus / "Train" / "MASK" / "MASK_000.nrrd").unlink()
    (abus / "Train" / "MASK" / "MASK_012.nrrd").unlink()
    (abus / "Train" / "DATA" / "DATA_003.nrrd").unlink()
    with pytest.raises(ValueError, match=r"Train has 3 problem\(s\)") as error:
        tdsc_datalist(abus, "training")
    text = str(error.value)
    assert "DATA_000.nrrd: there is no MASK_000.nrrd" in text
    assert "DATA_012.nrrd: there is no MASK_012.nrrd" in text
    assert "MASK_003.nrrd: there is no DATA_003.nrrd" in text


def test_a_number_twice(abus: Path):
    write_abus(abus, {"Train": [3]}, shard="00_49")
    with pytest.raises(ValueError, match=r"DATA_003.nrrd: the number 3 is also that of .*DATA00_49/DATA_003"):
        tdsc_datalist(abus, "training")


def test_a_number_in_two_sections(abus: Path):
    write_abus(abus, {"Test": [3]})
    assert numbers(tdsc_datalist(abus, "test")) == [3, 130, 131]
    with pytest.raises(ValueError, match=r"Test/DATA/DATA_003.nrrd: the number 3 occurs in training as well"):
        tdsc_datalist(abus, "all")
