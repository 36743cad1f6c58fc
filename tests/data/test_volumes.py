"""Reading NIfTI and NRRD files, against nibabel, pynrrd and SimpleITK."""

import bz2
import gzip
import itertools
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from dckd_ext.data import volumes as module
from dckd_ext.data.grids import Grid
from dckd_ext.data.volumes import (
    channels_first,
    constant_note,
    count_not_finite,
    is_volume,
    mask_image,
    read_volume,
    read_voxels,
)
from tests.conftest import write_volume

SHAPE = (5, 6, 7)
VOXELS = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
SFORM = np.array([[-1.0, 0, 0, 36], [0, -1, 0, 49], [0, 0, 1, 1], [0, 0, 0, 1]])
QFORM = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.9, 0.7, 1.3]), [9, -2, 5]
)


def write_nifti(
    path: Path, sform: Any = None, scode: int = 1, qform: Any = None, qcode: int = 1, **fields: Any
) -> Path:
    """A file with these forms; None leaves one out."""
    image = nib.Nifti1Image(VOXELS, None)
    if qform is not None:
        image.header.set_qform(qform, qcode)
    if sform is not None:
        image.header.set_sform(sform, scode)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def itk_affine(path: Path) -> np.ndarray:
    """Where SimpleITK puts the voxels of a file, in RAS."""
    image = sitk.ReadImage(str(path))
    origin = np.array(image.TransformIndexToPhysicalPoint((0, 0, 0)))
    steps = [
        np.subtract(image.TransformIndexToPhysicalPoint(index), origin)
        for index in np.eye(3, dtype=int).tolist()
    ]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.transpose(steps), origin
    return np.diag([-1, -1, 1, 1]) @ affine


# The place of a NIfTI file


@pytest.mark.parametrize("scode", [1, 2, 3, 4])
@pytest.mark.parametrize("qcode", [0, 1, 2])
@pytest.mark.parametrize("pixdim", [1.0, 1.0001])
def test_the_sform_counts_where_its_code_is_set(scode: int, qcode: int, pixdim: float, tmp_path: Path):
    """Whatever pixdim and the qform say: MONAI's reader takes the qform in half of these."""
    path = write_nifti(tmp_path / "a.nii", SFORM, scode, SFORM, qcode, pixdim=[1, *[pixdim] * 3, 1, 1, 1, 1])
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, SFORM)
    np.testing.assert_allclose(volume.affine, nib.load(path).affine)
    assert volume.notes == ()


def test_else_the_qform(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", qform=QFORM)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, QFORM, atol=1e-5)
    np.testing.assert_allclose(volume.affine, itk_affine(path), atol=1e-5)
    assert volume.notes == ()


def test_else_what_itk_shows_and_a_note(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", pixdim=[1, 2, 3, 4, 1, 1, 1, 1])
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.affine, np.diag([-2, -3, 4, 1]))
    np.testing.assert_allclose(volume.affine, itk_affine(path))
    assert volume.notes == (
        "neither sform nor qform is set: taken as ITK does, axes to the left, the back and up, "
        "the first voxel at 0",
    )


@pytest.mark.parametrize(
    ("qform", "noted"),
    [
        (nib.affines.from_matvec(np.diag([-1.0, -1, 1]), [36.24, 49, 1]), False),
        (nib.affines.from_matvec(np.diag([-1.0, -1, 1]), [36.26, 49, 1]), True),
        (QFORM, True),
    ],
)
def test_two_places_are_noted_with_the_millimetres(qform: np.ndarray, noted: bool, tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", SFORM, 4, qform)
    notes = read_volume(path).notes
    assert len(notes) == noted
    if noted:
        corners = [np.array(corner) for corner in itertools.product((0, 4), (0, 5), (0, 6))]
        apart = max(
            np.linalg.norm(nib.affines.apply_affine(SFORM - nib.load(path).get_qform(), corner))
            for corner in corners
        )
        assert (
            f"its sform (code 4) and its qform put a corner {apart:.3g} mm apart: the sform is taken"
            in notes[0]
        )


def test_edges_that_contradict_pixdim_are_noted(tmp_path: Path):
    """SimpleITK takes the edges from pixdim, whichever form it takes."""
    path = write_nifti(tmp_path / "a.nii", SFORM, pixdim=[1, 2, 1, 1, 1, 1, 1, 1])
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, SFORM)
    assert np.linalg.norm(itk_affine(path)[:, 0]) == 2
    assert "its sform (code 1) and its pixdim put a corner 4 mm apart" in volume.notes[0]


@pytest.mark.parametrize(
    ("unit", "scale"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (2 + 8, 1), (3 + 16, 0.001)]
)
def test_units(unit: int, scale: float, tmp_path: Path):
    """Metres and micrometres, with and without a unit of time."""
    path = write_nifti(tmp_path / "a.nii", QFORM / scale, 1, QFORM / scale, xyzt_units=unit)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine[:3], QFORM[:3], atol=1e-4)
    np.testing.assert_allclose(volume.affine, itk_affine(path), atol=1e-4)
    assert volume.notes == ()
    far = write_nifti(tmp_path / "b.nii", SFORM / scale, 1, QFORM / scale, xyzt_units=unit)
    expected = read_volume(write_nifti(tmp_path / "c.nii", SFORM, 1, QFORM)).notes
    assert read_volume(far).notes == expected  # in mm


def test_an_unknown_unit_is_noted(tmp_path: Path):
    assert (
        "no unit of length of the number 5"
        in read_volume(write_nifti(tmp_path / "a.nii", SFORM, xyzt_units=5)).notes[0]
    )


def test_a_qform_that_cannot_be(tmp_path: Path):
    broken = {"qform_code": 1, "quatern_b": 0.9, "quatern_c": 0.9}
    volume = read_volume(write_nifti(tmp_path / "a.nii", SFORM, **broken))
    np.testing.assert_allclose(volume.affine, SFORM)
    assert "its qform cannot be understood" in volume.notes[0]
    with pytest.raises(ValueError, match="cannot be read: w2 should be positive"):
        read_volume(write_nifti(tmp_path / "b.nii", **broken))


@pytest.mark.parametrize("sform", [np.diag([1, 1, 0, 1]), np.diag([1, np.nan, 1, 1]), np.ones((4, 4))])
def test_an_affine_that_cannot_be_inverted(sform: np.ndarray, tmp_path: Path):
    with pytest.raises(ValueError, match="expected an affine that can be inverted"):
        read_volume(
            write_nifti(tmp_path / "a.nii", srow_x=sform[0], srow_y=sform[1], srow_z=sform[2], sform_code=1)
        )


# Masks


@pytest.mark.parametrize("codes", itertools.product((0, 1, 4), (0, 1)))
@pytest.mark.parametrize("unit", [0, 1, 2, 3])
@pytest.mark.parametrize("order", "<>")
def test_a_mask_lies_on_its_image_in_every_reader(
    codes: tuple[int, int], unit: int, order: str, tmp_path: Path
):
    """Sform and qform differ, so that a reader shows where it looks; neither is set in one of the six."""
    scode, qcode = codes
    header = nib.Nifti1Header(endianness=order)
    image = nib.Nifti1Image(VOXELS[..., None], None, header)
    image.header.set_qform(QFORM, qcode)
    image.header.set_sform(SFORM, scode)
    image.header["xyzt_units"] = unit
    image.header["descrip"] = b"a name"
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    mask = mask_image(VOXELS % 3, volume.grid, module.nifti_header(tmp_path / "a.nii", volume.grid))
    nib.save(mask, tmp_path / "mask.nii.gz")
    one, two = nib.load(tmp_path / "a.nii"), nib.load(tmp_path / "mask.nii.gz")
    assert two.shape == SHAPE
    assert two.get_data_dtype() == np.uint8
    assert two.header["descrip"] == b""
    np.testing.assert_array_equal(one.affine, two.affine)
    np.testing.assert_array_equal(np.asarray(two.dataobj), VOXELS % 3)
    np.testing.assert_array_equal(itk_affine(tmp_path / "mask.nii.gz"), itk_affine(tmp_path / "a.nii"))
    assert [two.header[code] for code in ("sform_code", "qform_code")] == [scode, qcode]


def test_a_mask_of_another_grid_states_its_own(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", SFORM)
    grid = read_volume(path).grid
    assert module.nifti_header(path, grid) is not None
    for other in (grid._replace(shape=(5, 6, 8)), Grid(grid.shape, QFORM)):
        assert module.nifti_header(path, other) is None
    nib.save(mask_image(VOXELS, Grid(SHAPE, QFORM)), tmp_path / "mask.nii")
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii").affine, QFORM, atol=1e-5)
    np.testing.assert_allclose(itk_affine(tmp_path / "mask.nii"), QFORM, atol=1e-5)


def test_nifti_2_has_a_mask_of_its_own_kind(tmp_path: Path):
    nib.save(nib.Nifti2Image(VOXELS, QFORM), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.affine, QFORM)  # in double precision
    mask = mask_image(VOXELS, volume.grid, volume.header)
    nib.save(mask, tmp_path / "mask.nii.gz")
    assert isinstance(nib.load(tmp_path / "mask.nii.gz"), nib.Nifti2Image)
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii.gz").affine, QFORM)


# NRRD


SPACES = list(itertools.product(("right", "left"), ("anterior", "posterior"), ("superior", "inferior")))


@pytest.mark.parametrize("words", SPACES)
def test_nrrd_spaces_long_and_short_in_any_case(words: tuple[str, ...], tmp_path: Path):
    signs = [1 if word in ("right", "anterior", "superior") else -1 for word in words]
    expected = np.diag([*signs, 1]) @ QFORM
    long, short = "-".join(words), "".join(word[0] for word in words)
    header = {"space directions": QFORM[:3, :3].T, "space origin": QFORM[:3, 3]}
    for number, space in enumerate((long, long.title(), short, short.upper())):
        path = tmp_path / f"{number}.nrrd"
        nrrd.write(str(path), VOXELS, {**header, "space": space})
        volume = read_volume(path)
        np.testing.assert_allclose(volume.affine, expected, atol=1e-9)
        np.testing.assert_array_equal(volume.voxels, VOXELS)
        assert volume.notes == ()
    if long in (
        "right-anterior-superior",
        "left-anterior-superior",
        "left-posterior-superior",
    ):  # those of the format
        np.testing.assert_allclose(itk_affine(tmp_path / "0.nrrd"), expected, atol=1e-9)


@pytest.mark.parametrize(
    "space", ["scanner-xyz", "3D-right-handed", "RAS-time", "anterior-right-superior", "RA", ""]
)
def test_other_spaces_are_refused(space: str, tmp_path: Path):
    header = {"space": space or "x", "space directions": np.eye(3), "space origin": np.zeros(3)}
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS, header)
    with pytest.raises(ValueError, match=f"such as left-posterior-superior or LPS, found {space or 'x'}"):
        read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    "header",
    [{"spacings": [0.2, 0.1, 0.5]}, {"space dimension": 3, "space directions": np.diag([0.2, 0.1, 0.5])}],
)
def test_nrrd_without_a_space_is_what_itk_shows(header: dict, tmp_path: Path):
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS, header)
    volume = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_allclose(volume.affine, np.diag([-0.2, -0.1, 0.5, 1]))
    np.testing.assert_allclose(volume.affine, itk_affine(tmp_path / "a.nrrd"))
    assert volume.notes == ("the NRRD header states no space, taken as ITK does: left-posterior-superior",)


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("um", 0.001), ("m", 1000)])
def test_nrrd_units(unit: str, scale: float, tmp_path: Path):
    header = {"space": "RAS", "space directions": np.eye(3) / scale, "space units": [unit] * 3}
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS, {**header, "space origin": np.zeros(3)})
    np.testing.assert_allclose(read_volume(tmp_path / "a.nrrd").affine, np.eye(4))
    nrrd.write(str(tmp_path / "b.nrrd"), VOXELS, {**header, "space units": ["mm", "mm", "s"]})
    assert "space units are ['mm', 's'], taken as mm" in read_volume(tmp_path / "b.nrrd").notes[0]


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "txt"])
def test_detached_headers(encoding: str, tmp_path: Path):
    header = {
        "space": "RAS",
        "space directions": np.eye(3),
        "space origin": np.zeros(3),
        "encoding": encoding,
    }
    nrrd.write(str(tmp_path / "a.nhdr"), VOXELS, header, detached_header=True)
    assert sorted(path.name for path in tmp_path.iterdir())[0] == "a.nhdr"
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nhdr").voxels, VOXELS)
    (data,) = (path for path in tmp_path.iterdir() if path.suffix != ".nhdr")
    for elsewhere in ("../" + data.name, str(data), "sub/" + data.name, "..\\" + data.name, "LIST", ".."):
        text = (tmp_path / "a.nhdr").read_text().replace(data.name, elsewhere)
        (tmp_path / "b.nhdr").write_text(text)
        with pytest.raises(ValueError, match="expected a data file in the header's own folder, found "):
            read_volume(tmp_path / "b.nhdr")
    data.unlink()
    with pytest.raises(ValueError, match=f"its data file {data.name} is not beside it"):
        read_volume(tmp_path / "a.nhdr")


# Names


def test_names_in_capital_letters(tmp_path: Path):
    for name, write in (("a.nii.gz", write_volume), ("b.nii", write_volume)):
        path = write(tmp_path / name, VOXELS, QFORM)
        upper = Path(shutil.copy(path, tmp_path / name.upper()))
        np.testing.assert_array_equal(read_volume(upper).voxels, VOXELS)
        assert is_volume(upper)


@pytest.mark.parametrize("name", ["a.png", "a.mha", "a.gz", "a"])
def test_other_files_are_refused(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"expected a file that ends in \.nii, \.nii\.gz, \.nrrd, \.nhdr"):
        read_volume(tmp_path / name)


# Damage


def damaged(kind: str, content: bytes) -> bytes:
    content = bytearray(content)
    if kind == "cut":
        del content[len(content) // 2 :]
    elif kind == "cut in the trailer":
        del content[-3:]
    elif kind == "check sum":
        content[-6] ^= 1
    elif kind == "length":
        content[-2] ^= 1
    else:
        content[len(content) // 2] ^= 1  # in a stored block no code can be wrong, only the check sum
    return bytes(content)


@pytest.mark.parametrize("kind", ["cut", "cut in the trailer", "check sum", "length", "a byte"])
@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
def test_damaged_gzip(kind: str, ending: str, tmp_path: Path):
    whole = gzip.compress(VOXELS.tobytes(order="F"), compresslevel=0)
    path = tmp_path / f"a.{ending}"
    if ending == "nrrd":
        head = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 5 6 7\nspacings: 1 1 1\nencoding: gzip\n\n"
        path.write_bytes(head + whole)
        np.testing.assert_array_equal(read_volume(path).voxels, VOXELS)
        path.write_bytes(head + damaged(kind, whole))
    else:
        plain = nib.Nifti1Image(VOXELS, QFORM).to_bytes()
        path.write_bytes(gzip.compress(plain, compresslevel=0))
        np.testing.assert_array_equal(read_volume(path).voxels, VOXELS)
        path.write_bytes(damaged(kind, gzip.compress(plain, compresslevel=0)))
    with pytest.raises(ValueError, match="cannot be read: "):
        read_volume(path)
    with pytest.raises(ValueError, match="cannot be read: "):
        read_voxels(path)


def test_damaged_bzip2(tmp_path: Path):
    head = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 5 6 7\nspacings: 1 1 1\nencoding: bzip2\n\n"
    whole = bz2.compress(VOXELS.tobytes(order="F"))
    (tmp_path / "a.nrrd").write_bytes(head + whole)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nrrd").voxels, VOXELS)
    for cut in (-3, -12, len(whole) // 2):
        (tmp_path / "a.nrrd").write_bytes(head + whole[:cut])
        with pytest.raises(ValueError, match="cannot be read: "):
            read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "nhdr"])
def test_empty_and_missing_files(ending: str, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_volume(tmp_path / f"a.{ending}")
    (tmp_path / f"a.{ending}").write_bytes(b"")
    with pytest.raises(ValueError, match="the file is empty"):
        read_volume(tmp_path / f"a.{ending}")
    (tmp_path / f"a.{ending}").write_bytes(b"no volume")
    with pytest.raises(ValueError, match="cannot be read: "):
        read_volume(tmp_path / f"a.{ending}")


def test_a_header_that_claims_more_than_the_file_can_hold(tmp_path: Path):
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_data_dtype(np.float64)
    with gzip.open(tmp_path / "a.nii.gz", "wb") as file:
        header.write_to(file)
        file.write(b"\0" * 1000)
    with pytest.raises(ValueError, match=r"claims 2\.16e\+14 bytes of voxels, more than the file can hold"):
        read_volume(tmp_path / "a.nii.gz")


# What is no volume of one number a voxel


def test_colour_and_complex(tmp_path: Path):
    colour = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match=r"expected one value a voxel, found a colour image \(RGB\)"):
        read_volume(tmp_path / "a.nii.gz")
    write_volume(tmp_path / "b.nii", np.ones(SHAPE, np.complex64))
    with pytest.raises(ValueError, match="expected one real number a voxel, found complex64"):
        read_volume(tmp_path / "b.nii")
    nrrd.write(
        str(tmp_path / "a.nrrd"), np.zeros((3, *SHAPE), np.uint8), {"kinds": ["RGB-color", *["domain"] * 3]}
    )
    with pytest.raises(ValueError, match=r"three axes and one value a voxel, found the sizes \(3, 5, 6, 7\)"):
        read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize("more", [(), (1,), (1, 1)])
def test_trailing_axes_of_one_are_left_out(more: tuple[int, ...], tmp_path: Path):
    path = write_volume(tmp_path / "a.nii.gz", VOXELS.reshape(*SHAPE, *more), QFORM)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, QFORM, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7, 1, 3), (5, 0, 7)])
def test_other_shapes_are_refused(shape: tuple[int, ...], tmp_path: Path):
    with pytest.raises(ValueError, match="expected a 3D volume, found the shape"):
        read_volume(write_volume(tmp_path / "a.nii", np.zeros(shape, np.uint8)))


def test_channels():
    voxels = np.zeros((*SHAPE, 2))
    assert channels_first(voxels, 2).shape == (2, *SHAPE)
    assert channels_first(VOXELS, 1).shape == (1, *SHAPE)
    with pytest.raises(ValueError, match=r"3D volume with 1 channel\(s\), found the shape \(5, 6, 7, 2\)"):
        channels_first(voxels, 1)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", ">i4", "<f4", ">f4", "<f8", ">f8", "i8"])
def test_every_type_of_voxels(dtype: str, tmp_path: Path):
    voxels = (VOXELS % 100).astype(dtype)
    image = nib.Nifti1Image(
        voxels,
        np.eye(4),
        nib.Nifti1Header(endianness=dtype[0] if dtype[0] in "<>" else "<"),
        dtype=voxels.dtype,
    )
    nib.save(image, tmp_path / "a.nii")
    nrrd.write(
        str(tmp_path / "a.nrrd"),
        voxels,
        {"endian": "big" if dtype[0] == ">" else "little", "spacings": [1] * 3},
    )
    for name in ("a.nii", "a.nrrd"):
        found = read_volume(tmp_path / name).voxels
        assert found.dtype == voxels.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, voxels)


@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 2, 40)])
def test_not_finite_in_parts(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dckd_ext.data.grids.CHUNK", 20)
    image = np.zeros(shape)
    image.reshape(-1)[::10], image.reshape(-1)[5::10], image.reshape(-1)[6::10] = np.inf, np.nan, 1e300
    with np.errstate(over="ignore"):
        assert count_not_finite(image) == int((~np.isfinite(image.astype(np.float32))).sum())
    assert count_not_finite(np.full(shape, 255, np.uint8)) == 0


def test_one_value_is_noted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dckd_ext.data.grids.CHUNK", 20)
    image = np.full(SHAPE, 7.5, np.float32)
    assert constant_note(image) == "all voxels are 7.5: what is found in it means nothing"
    image[-1, -1, -1] += 1
    assert constant_note(image) is None
