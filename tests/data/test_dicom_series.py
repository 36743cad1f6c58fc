"""DICOM series as volumes: their geometry against SimpleITK and dcm2niix, and what is refused."""

import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file
from pydicom.uid import MPEG2MPML, JPEG2000Lossless, JPEGLosslessSV1, RLELossless, generate_uid

from dckd_ext.data import dicom_files
from dckd_ext.data.dicom_series import choose_series, find_series, read_series
from dckd_ext.data.images import image_paths, read_image
from dckd_ext.data.volumes import Volume
from tests.data.dicom_examples import (
    ENHANCED_MR,
    ENHANCED_US_VOLUME,
    LPS,
    MR,
    US_MULTI_FRAME,
    frames,
    image,
    item,
    oblique,
    slices,
    values,
    write,
)

ABUS = (0.2, 0.073, 0.475674)
SAGITTAL = np.array([[0, 0, 1.5, 3], [-0.8, 0, 0, 4], [0, -0.9, 0, 5], [0, 0, 0, 1]])
GRIDS = {
    "axial": LPS @ np.diag([0.9, 0.7, 1.3, 1.0]),
    "sagittal": SAGITTAL,
    "oblique": oblique(0.9, 0.7, 1.3),
    "far": np.array([[-0.5, 0, 0, 812.5], [0, -0.5, 0, -600], [0, 0, 4, -1500], [0, 0, 0, 1]]),
}


def read(root: Path, **options: Any) -> Volume:
    [path] = image_paths(root)
    return read_image(path, **options)


def canonical(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same voxels with axes to the right, the front and up, whatever order a reader stores them in."""
    found = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(voxels, np.float32), affine))
    return np.asarray(found.dataobj), found.affine


def by_simpleitk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    found = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    turn = np.reshape(found.GetDirection(), (3, 3)) @ np.diag(found.GetSpacing())
    affine = LPS @ nib.affines.from_matvec(turn, found.GetOrigin())
    return canonical(SimpleITK.GetArrayFromImage(found).T, affine)


def by_dcm2niix(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    out = folder.with_name("converted")
    out.mkdir()
    subprocess.run([dcm2niix.bin, "-b", "n", "-o", out, folder], check=True, capture_output=True)
    [file] = out.glob("*.nii")
    found = nib.load(file)
    return canonical(found.get_fdata(), found.affine)


READERS = {"SimpleITK": by_simpleitk, "dcm2niix": by_dcm2niix}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("grid", GRIDS)
def test_single_frame_series_lie_where_other_readers_have_them(grid: str, reader: str, tmp_path: Path):
    write(tmp_path / "in", slices(values(11, 9, 7), GRIDS[grid], RescaleSlope=2, RescaleIntercept=-30))
    found = read(tmp_path / "in")
    np.testing.assert_allclose(found.affine, GRIDS[grid], atol=1e-6)
    np.testing.assert_array_equal(found.voxels, values(11, 9, 7) * 2.0 - 30)
    voxels, affine = READERS[reader](tmp_path / "in")
    own = canonical(found.voxels, found.affine)
    np.testing.assert_array_equal(own[0], voxels)
    np.testing.assert_allclose(own[1], affine, atol=1e-4)


@pytest.mark.parametrize("grid", GRIDS)
def test_enhanced_files_lie_where_dcm2niix_has_them(grid: str, tmp_path: Path):
    write(tmp_path / "in", frames(ENHANCED_MR, values(11, 9, 7), GRIDS[grid]))
    found = read(tmp_path / "in")
    np.testing.assert_allclose(found.affine, GRIDS[grid], atol=1e-6)
    np.testing.assert_array_equal(found.voxels, values(11, 9, 7))
    voxels, affine = by_dcm2niix(tmp_path / "in")
    own = canonical(found.voxels, found.affine)
    np.testing.assert_array_equal(own[0], voxels)
    np.testing.assert_allclose(own[1], affine, atol=1e-4)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_frames_in_any_order_lie_where_they_say(order: list[int], tmp_path: Path):
    voxels, affine = values(6, 5, 4), oblique(1, 1, 2)
    header = frames(ENHANCED_MR, voxels, affine)
    header.PixelData = voxels.transpose(2, 1, 0)[order].tobytes()
    header.PerFrameFunctionalGroupsSequence = [header.PerFrameFunctionalGroupsSequence[k] for k in order]
    found = read(write(tmp_path / "in", header))
    own, expected = canonical(found.voxels, found.affine), canonical(voxels, affine)
    np.testing.assert_array_equal(own[0], expected[0])
    np.testing.assert_allclose(own[1], expected[1], atol=1e-6)


def test_slopes_of_every_frame(tmp_path: Path):
    header = frames(ENHANCED_MR, values(6, 5, 4), np.eye(4))
    for number, group in enumerate(header.PerFrameFunctionalGroupsSequence):
        change = item(RescaleSlope=str(number + 0.5), RescaleIntercept="3", RescaleType="US")
        group.PixelValueTransformationSequence = [change]
    found = read(write(tmp_path / "in", header)).voxels
    np.testing.assert_allclose(found, values(6, 5, 4) * (np.arange(4) + 0.5) + 3)


def test_a_tilted_gantry_keeps_its_shear(tmp_path: Path):
    affine = LPS @ np.array([[1, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(read(write(tmp_path / "in", slices(values(6, 5, 4), affine))).affine, affine)


# What pydicom brings along


def test_compressed_files_are_the_plain_one(tmp_path: Path):
    plain = pydicom.dcmread(get_testdata_file("MR_small.dcm")).pixel_array
    for number, name in enumerate(("implicit", "bigendian", "RLE", "jp2klossless", "jpeg_ls_lossless")):
        series = []
        for height in range(2):
            header = pydicom.dcmread(get_testdata_file(f"MR_small_{name}.dcm"))
            header.ImagePositionPatient = [0, 0, height]
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            series.append(header)
        found = read(write(tmp_path / str(number), series))
        np.testing.assert_array_equal(found.voxels, np.stack([plain.T, plain.T], axis=2), err_msg=name)


def test_real_studies_are_listed():
    root = Path(str(get_testdata_file("DICOMDIR"))).parent
    found = {series.name: str(series.problem) for series in find_series(root)}
    assert len(found) == 13
    assert found["5_SmartScore_-_Gated_0_5_sec"] == "None"
    assert found["4_Scout"] == "a localizer"
    assert found["3_Cervical_OBLI_2"] == "expected grey values (MONOCHROME2), found MONOCHROME1"
    assert found["2_T_S_C_RF_FAST_PILOT_1"] == "mixed orientations: 3 among 3 slices"
    assert found["2_Routine_Brain"].endswith("lie 202 mm apart, others 1.25 mm; 161 slice(s) are missing")


@pytest.mark.parametrize("reader", READERS)
def test_a_real_series_lies_where_other_readers_have_it(reader: str, tmp_path: Path):
    root = Path(str(get_testdata_file("DICOMDIR"))).parent
    [path] = image_paths(root, "5")  # of 13, the only one that is a volume
    assert image_paths(root) == [path]
    found = read_image(path)
    (tmp_path / "in").mkdir()
    for file in choose_series(root)[0].files:
        shutil.copy(root / file, tmp_path / "in")
    voxels, affine = READERS[reader](tmp_path / "in")
    own = canonical(found.voxels, found.affine)
    np.testing.assert_array_equal(own[0], voxels)
    np.testing.assert_allclose(own[1], affine, atol=1e-4)


# What is refused


def moved(headers: list, number: int, by: float) -> list:
    x, y, z = map(float, headers[number].ImagePositionPatient)
    headers[number].ImagePositionPatient = [x, y, z + by]
    return headers


def changed(number: int, **attributes: Any) -> Callable[[list], list]:
    def change(headers: list) -> list:
        for key, value in attributes.items():
            setattr(headers[number], key, value)
        return headers

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s[:2] + s[3:], r"a gap: IM0002 and IM0001 lie 4 mm apart, others 2 mm; 1 slice\(s\) are"),
        (lambda s: s[:2] + s[5:], r"3 slice\(s\) are missing"),
        (lambda s: moved(s, 3, 2.0), r"IM0002 and IM0003 have the same position|IM0003 and IM0002 have"),
        (
            lambda s: s + slices(values(8, 7, 9), np.diag([1, 1, 2.0, 1])),
            r"9 such pair\(s\) of 18 slices: se",
        ),
        (lambda s: moved(s, 3, 0.6), "slices are unevenly placed: up to 0.6 mm away from a regular grid"),
        (lambda s: s[:1], "one slice, expected several"),
        (changed(2, ImageOrientationPatient=[1, 0, 0, 0, 0, 1]), "mixed orientations: 2 among 9 slices"),
        (changed(2, ImageOrientationPatient=[]), "IM0002 states no position, orientation or pixel spacing"),
        (changed(2, PixelSpacing=[0, 0]), "IM0002 states no position, orientation or pixel spacing"),
        (changed(2, PixelSpacing=[1, 2]), "mixed pixel spacings"),
        (changed(2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "a localizer"),
        (changed(2, Rows=4, Columns=14), "mixed sizes: 8 x 7, 14 x 4"),
        (changed(2, PhotometricInterpretation="PALETTE COLOR"), r"\(MONOCHROME2\), found PALETTE COLOR"),
        (changed(2, PhotometricInterpretation="MONOCHROME1"), r"\(MONOCHROME2\), found MONOCHROME1"),
    ],
)
def test_series_that_are_no_volume(change: Callable[[list], list], expected: str, tmp_path: Path):
    write(tmp_path / "in", change(slices(values(8, 7, 9), np.diag([1, 1, 2.0, 1]))))
    with pytest.raises(ValueError, match=expected) as error:
        image_paths(tmp_path / "in")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'in'}: 3_T1_MPRAGE (MR, ")


def test_all_orientations_that_are_no_pair_of_axes(tmp_path: Path):
    write(tmp_path / "in", slices(values(8, 7, 9), np.eye(4), ImageOrientationPatient=[1, 0, 0, 1, 0, 0]))
    with pytest.raises(ValueError, match=r"its image orientation .* is no pair of axes at right angles"):
        image_paths(tmp_path / "in")


@pytest.mark.parametrize(
    ("syntax", "expected"),
    [
        (
            JPEGLosslessSV1,
            r"compressed as JPEG Lossless.* \(1\.2\.840\.10008\.1\.2\.4\.70\), which .*pylibjpeg",
        ),
        (MPEG2MPML, "compressed as MPEG2 .*, which pydicom cannot decode"),
    ],
)
def test_transfer_syntaxes_that_cannot_be_decoded(syntax: str, expected: str, tmp_path: Path):
    headers = slices(values(8, 7, 3), np.eye(4))
    for header in headers:
        header.PixelData = pydicom.encaps.encapsulate([b"\0" * 20])
        header.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(ValueError, match=expected):
        image_paths(write(tmp_path / "in", headers))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_voxels_that_are_damaged(syntax: str, tmp_path: Path):
    headers = slices(values(8, 7, 3), np.eye(4))
    for header in headers:
        header.PixelData = pydicom.encaps.encapsulate([b"\0" * 20])
        header.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(ValueError, match="IM0002: its voxels cannot be read"):
        read(write(tmp_path / "in", headers))


def test_voxels_that_are_cut_short(tmp_path: Path):
    folder = write(tmp_path / "in", slices(values(8, 7, 3), np.eye(4)))
    (folder / "IM0001").write_bytes((folder / "IM0001").read_bytes()[:-30])
    with pytest.raises(ValueError, match="IM0001: its voxels cannot be read"):
        read(folder)


def test_files_that_are_no_images(tmp_path: Path):
    folder = write(tmp_path / "in", slices(values(8, 7, 3), np.eye(4)))
    (folder / "notes.txt").write_text("no DICOM")
    (folder / ".IM0000").write_bytes(b"\0" * 128 + b"DICM")
    write(folder, image(MR, values(8, 7), Modality="SEG"))
    assert len(find_series(folder)) == 1
    (folder / "broken.dcm").write_bytes(b"no DICOM at all")
    find_series.cache_clear()
    with pytest.raises(ValueError, match=r"broken\.dcm: cannot be read as DICOM"):
        find_series(folder)


def test_without_pydicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write(tmp_path / "in", slices(values(8, 7, 3), np.eye(4)))
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ValueError, match="DICOM needs the package pydicom: pip install pydicom highdicom"):
        image_paths(folder)


# Which series


@pytest.fixture
def study(tmp_path: Path) -> Path:
    one, two = (slices(values(8, 7, 3), np.eye(4)) for _ in range(2))
    for header in two:
        header.SeriesInstanceUID, header.SeriesNumber, header.SeriesDescription = "1.2.3.5", 12, "T2/fl? tra"
    loose = [image(MR, values(8, 7), SeriesInstanceUID="1.2.3.6", SeriesNumber=1, SeriesDescription="")]
    write(tmp_path / "study" / "a", one)
    write(tmp_path / "study" / "b" / "c", two[:2])
    write(tmp_path / "study" / "d", [*two[2:], *loose])
    return tmp_path / "study"


def test_series_are_listed(study: Path):
    with pytest.raises(ValueError, match="holds 3 DICOM series, choose by --series") as error:
        choose_series(study)
    expected = (
        "1 (MR, 1 slices): one slice, expected several; 3_T1_MPRAGE (MR, 3 slices); 12_T2_fl_tra (MR, 3"
    )
    assert expected in str(error.value)
    with pytest.raises(ValueError, match="none of which is 'CT'"):
        choose_series(study, "CT")


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ("3", "3"),
        ("12", "12"),
        ("1", "1"),
        ("t1 mprage", "3"),
        ("T2*", "12"),
        ("1.2.3.5", "12"),
        ("*", "1 3 12"),
    ],
)
def test_series_are_chosen(wanted: str, numbers: str, study: Path):
    assert [series.number for series in choose_series(study, wanted)] == numbers.split()


def test_a_series_in_several_folders_is_one(study: Path):
    [series] = choose_series(study, "12")
    np.testing.assert_array_equal(read_series(series).voxels, values(8, 7, 3))


def test_the_only_one_needs_no_choice(study: Path):
    (study / "a").rename(study.with_name("other"))
    assert image_paths(study) == [study / "12_T2_fl_tra"]


def test_series_of_one_name_are_told_apart(tmp_path: Path):
    for uid in ("1.2.3.4", "1.2.3.5"):
        write(tmp_path / "in", slices(values(8, 7, 3), np.eye(4), SeriesInstanceUID=uid))
    found = choose_series(tmp_path / "in", "*")
    assert [series.name for series in found] == ["3_T1_MPRAGE_1", "3_T1_MPRAGE_2"]


def test_nifti_files_of_a_folder_come_first(tmp_path: Path):
    folder = write(tmp_path / "in", slices(values(8, 7, 3), np.eye(4)))
    nib.save(nib.Nifti1Image(values(3, 3, 3), np.eye(4)), folder / "a.nii")
    assert image_paths(folder) == [folder / "a.nii"]


# Zips


def zipped(folder: Path, name: Callable[[Path], str] = lambda file: f"study/{file.name}") -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, name(file))
    return target


def test_a_zip_is_read_in_place(tmp_path: Path):
    """Members with names that lead elsewhere are members like others: nothing is written."""
    folder = write(tmp_path / "in", slices(values(8, 7, 5), oblique(1, 1, 2)))
    file = zipped(folder, lambda file: f"../../{file.name}")
    before = sorted(tmp_path.rglob("*"))
    found = read(file)
    np.testing.assert_array_equal(found.voxels, read(folder).voxels)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "most"), [("MAX_MEMBERS", 4), ("MAX_UNPACKED", 4000)])
def test_zips_that_hold_too_much(name: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = zipped(write(tmp_path / "in", slices(values(8, 7, 5), np.eye(4))))
    monkeypatch.setattr(dicom_files, name, most)
    with pytest.raises(ValueError, match=r"holds 5 files of 0\.0 GiB, expected at most"):
        find_series(file)


def test_zips_that_cannot_be_read(tmp_path: Path):
    file = tmp_path / "a.zip"
    file.write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match=r"a\.zip: cannot be read as a zip"):
        image_paths(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "no DICOM")
    with pytest.raises(FileNotFoundError, match=r"a\.zip: expected volumes .* or DICOM files, found none"):
        image_paths(file)
    encrypted = bytearray(file.read_bytes())
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(encrypted)
    with pytest.raises(ValueError, match=r"b\.zip: is encrypted"):
        image_paths(tmp_path / "b.zip")


# Ultrasound


def region(x: float, y: float, unit: int = 3) -> Any:
    return item(
        PhysicalUnitsXDirection=unit, PhysicalUnitsYDirection=unit, PhysicalDeltaX=x, PhysicalDeltaY=y
    )


@pytest.mark.parametrize(
    ("attributes", "edges", "lacking"),
    [
        ({}, ABUS, "columns and rows and frames"),
        ({"PixelSpacing": [0.1, 0.3]}, (0.3, 0.1, ABUS[2]), "frames"),
        ({"SequenceOfUltrasoundRegions": [region(0.03, 0.01)]}, (0.3, 0.1, ABUS[2]), "frames"),
        ({"SequenceOfUltrasoundRegions": [region(0.03, 0.01, 4)]}, ABUS, "columns and rows and frames"),
        ({"SequenceOfUltrasoundRegions": [region(1, 1), region(2, 2)]}, ABUS, "columns and rows and frames"),
        ({"PixelSpacing": [0.1, 0.3], "SpacingBetweenSlices": 0.5}, (0.3, 0.1, 0.5), None),
    ],
)
def test_multi_frame_ultrasound(attributes: Any, edges: Any, lacking: str | None, tmp_path: Path):
    voxels = values(8, 7, 5, dtype=np.uint8)
    header = image(US_MULTI_FRAME, voxels.transpose(2, 1, 0), **attributes)
    found = read(write(tmp_path / "in", header), nrrd_spacing=ABUS)
    np.testing.assert_array_equal(found.voxels, voxels)
    assert found.voxels.dtype == np.uint8
    np.testing.assert_allclose(found.affine, np.diag([*edges, 1]))
    assert found.stored_order
    assert bool(found.notes) == bool(lacking)
    if lacking:
        assert f"no distance of its {lacking}: taken as" in found.notes[0]
        with pytest.raises(ValueError, match=f"it states no distance of its {lacking}, in mm"):
            read(tmp_path / "in")
    else:
        assert "states no positions" in read(tmp_path / "in").notes[0]


def test_enhanced_ultrasound_volumes_state_their_place(tmp_path: Path):
    voxels, affine = values(8, 7, 5, dtype=np.uint8), oblique(0.2, 0.1, 0.5)
    found = read(write(tmp_path / "in", frames(ENHANCED_US_VOLUME, voxels, affine)), nrrd_spacing=ABUS)
    np.testing.assert_array_equal(found.voxels, voxels)
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)
    assert found.notes == ()


def test_every_multi_frame_file_is_a_series(tmp_path: Path):
    stored = values(5, 7, 8, dtype=np.uint8)
    write(tmp_path / "in", [image(US_MULTI_FRAME, stored) for _ in range(2)])
    assert len(image_paths(tmp_path / "in", "*")) == 2


@pytest.mark.parametrize("coloured", [False, True])
def test_colour(coloured: bool, tmp_path: Path):
    """Grey ultrasound often comes in colour."""
    stored = np.stack([values(5, 7, 8, dtype=np.uint8)] * 3, axis=-1)
    stored[0, 0, 0, 2] += 9 * coloured
    header = image(US_MULTI_FRAME, stored[..., 0], SamplesPerPixel=3, PhotometricInterpretation="RGB")
    header.PlanarConfiguration, header.PixelData = 0, stored.tobytes()
    write(tmp_path / "in", header)
    if coloured:
        with pytest.raises(ValueError, match="expected one value a voxel, found a colour image"):
            read(tmp_path / "in", nrrd_spacing=ABUS)
    else:
        np.testing.assert_array_equal(read(tmp_path / "in", nrrd_spacing=ABUS).voxels, stored[..., 0].T)


def test_the_coloured_ultrasound_of_pydicom():
    root = Path(str(get_testdata_file("examples_ybr_color.dcm")))
    [series] = find_series(root)
    assert (series.modality, series.shape) == ("US", (320, 240, 30))
    with pytest.raises(ValueError, match="found a colour image"):
        read_series(series, ABUS)


def test_texts_tell_nothing_of_the_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: Any):
    """Values that the standard does not allow would be printed by pydicom, names among them."""
    headers = slices(values(8, 7, 3), np.eye(4))
    folder = tmp_path / "in"
    with dicom_files.quiet_pydicom():
        for header in headers:
            header.PatientID = "secret-7" * 20
            header.PatientBirthDate = "born secret-7"
        write(folder, headers)
    read(folder)
    texts = [record.getMessage() for record in caplog.records] + [str(entry.message) for entry in recwarn]
    texts += map(str, find_series(folder))
    assert not [text for text in texts if re.search("secret|Nobody", text)]
