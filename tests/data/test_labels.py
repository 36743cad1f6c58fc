"""Labels on the grid of their image, against nibabel's and SimpleITK's own resampling."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from dckd_ext.data import grids
from dckd_ext.data.grids import Grid
from dckd_ext.data.labels import check_classes, label_on, read_label, values_outside, whole_numbers
from dckd_ext.data.volumes import Volume, read_volume
from tests.conftest import write_volume
from tests.data.abus_files import write_nrrd

SHAPE = (5, 6, 7)
CLASSES = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
AFFINE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.9, 0.7, 1.3]), [1.0, 2.0, 3.0]
)
IMAGE = Grid(SHAPE, AFFINE)
ORIENTATIONS = [
    "".join(letter[flip] for letter, flip in zip(axes, flips, strict=True))
    for axes in permutations(("RL", "AP", "SI"))
    for flips in product((0, 1), repeat=3)
]


def stored(axcodes: str, classes: np.ndarray = CLASSES) -> nib.Nifti1Image:
    """The same label in the world, its axes stored otherwise."""
    wanted = nib.orientations.axcodes2ornt(axcodes)
    image = nib.Nifti1Image(classes, AFFINE)
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(AFFINE), wanted)
    return image.as_reoriented(turn)


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_axes_alone_are_turned(axcodes: str, tmp_path: Path):
    """All 48 ways to store a volume; SimpleITK resamples the file onto the image by nearest voxel."""
    nib.save(nib.Nifti1Image(CLASSES, AFFINE), tmp_path / "image.nii")
    nib.save(stored(axcodes), tmp_path / "label.nii")
    label = read_label(tmp_path / "label.nii", read_volume(tmp_path / "image.nii").grid)
    image, itk = (sitk.ReadImage(str(tmp_path / name)) for name in ("image.nii", "label.nii"))
    expected = sitk.GetArrayFromImage(sitk.Resample(itk, image, sitk.Transform(), sitk.sitkNearestNeighbor)).T
    np.testing.assert_array_equal(label.voxels, CLASSES)
    np.testing.assert_array_equal(label.voxels, expected)
    np.testing.assert_allclose(label.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(
    ("shift", "refused"),
    [
        ((0.17, 0, 0), False),
        ((0.18, 0, 0), True),
        ((0, 0, 0.17), False),
        ((10, 0, 0), True),
        ((0, 50, 0), True),
    ],
)
def test_another_place_is_refused(shift: tuple[float, ...], refused: bool):
    """A quarter of the smallest edge, 0.7 mm, is 0.175 mm."""
    affine = AFFINE.copy()
    affine[:3, 3] += shift
    label = Volume(CLASSES, affine)
    if not refused:
        np.testing.assert_array_equal(label_on(label, IMAGE).voxels, CLASSES)
        return
    with pytest.raises(
        ValueError, match=r"lies elsewhere than image a\.nii: a corner is .* mm off"
    ) as caught:
        label_on(label, IMAGE, name="image a.nii")
    for matrix in (affine, AFFINE):  # both are named
        assert str(np.round(matrix[:3], 4).tolist()) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [np.diag([-1.0, 1, 1, 1]), np.diag([1.0, 1, 1.1, 1]), np.diag([2.0, 2, 2, 1]), np.eye(4)[[1, 0, 2, 3]]],
)
def test_another_direction_or_spacing_is_refused(change: np.ndarray):
    """The array is the image's, the header is not: mirrored about 0, stretched, exchanged axes."""
    cube = CLASSES[:5, :5, :5]
    with pytest.raises(ValueError, match="lies elsewhere than the image"):
        label_on(Volume(cube, change @ AFFINE), Grid(cube.shape, AFFINE))


def test_another_shape_is_refused_after_the_turn():
    turned = stored("SRA")
    with pytest.raises(ValueError, match=r"has shape \(5, 6, 7\), expected that of the image: \(5, 6, 8\)"):
        label_on(Volume(np.asarray(turned.dataobj), turned.affine), Grid((5, 6, 8), AFFINE))


def test_one_hot_is_refused():
    with pytest.raises(
        ValueError, match=r"one class a voxel, found the shape \(5, 6, 7, 3\): channels of a one-hot"
    ):
        label_on(Volume(np.eye(3)[CLASSES], AFFINE), IMAGE)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_stored_order(dtype: type, tmp_path: Path):
    """A NRRD label without a spacing of its own lies where the image does; with one it has to be the same."""
    image = Grid(SHAPE, np.diag([0.2, 0.07, 0.5, 1]))
    label = read_label(write_nrrd(tmp_path / "a.nrrd", CLASSES.astype(dtype)), image, stored_order=True)
    assert label.voxels.dtype == np.uint8
    np.testing.assert_array_equal(label.voxels, CLASSES)
    np.testing.assert_allclose(label.affine, image.affine)
    flipped = write_nrrd(tmp_path / "b.nrrd", CLASSES, **{"space directions": -np.diag([0.2, 0.07, 0.5])})
    np.testing.assert_array_equal(read_label(flipped, image, stored_order=True).voxels, CLASSES)
    nifti = write_volume(tmp_path / "c.nii", CLASSES, np.diag([-0.2, -0.07, 0.5, 1]))
    np.testing.assert_array_equal(read_label(nifti, image, stored_order=True).voxels, CLASSES)
    np.testing.assert_array_equal(
        label_on(read_volume(nifti, [1, 1, 1]), read_volume(nifti).grid).voxels, CLASSES
    )
    other = write_nrrd(tmp_path / "d.nrrd", CLASSES, **{"space directions": np.diag([0.3, 0.07, 0.5])})
    with pytest.raises(ValueError, match=r"found voxels of 0\.3 x 0\.07 x 0\.5 mm"):
        read_label(other, image, stored_order=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_nifti_of_any_type(tmp_path: Path, dtype: type):
    path = write_volume(tmp_path / "label.nii.gz", CLASSES.astype(dtype), AFFINE)
    label = read_label(path, read_volume(path).grid)
    assert label.voxels.dtype == np.uint8
    np.testing.assert_array_equal(label.voxels, CLASSES)


def test_scaled_nifti(tmp_path: Path):
    image = nib.Nifti1Image(CLASSES.astype(np.float32), AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "label.nii")
    stored_values = nib.load(tmp_path / "label.nii").dataobj
    assert stored_values.get_unscaled().max() > 2  # or no scaling is tried
    assert (np.asarray(stored_values) != CLASSES).any()  # nor any rounding
    np.testing.assert_array_equal(read_label(tmp_path / "label.nii", IMAGE).voxels, CLASSES)


@pytest.mark.parametrize("name", ["gone.nii.gz", "gone.nrrd"])
def test_missing_file(tmp_path: Path, name: str):
    with pytest.raises(FileNotFoundError, match=name):
        read_label(tmp_path / name, IMAGE)


def test_rounding_and_types():
    volume = np.array([[0.0004, 0.9996], [254.9999, 3.0]], order="F")
    np.testing.assert_array_equal(whole_numbers(volume), [[0, 1], [255, 3]])
    for value, dtype in ((-1, np.int32), (256, np.int32), (255, np.uint8)):
        rounded = whole_numbers(np.array([0.0, value]))
        assert rounded.dtype == dtype
        assert rounded.tolist() == [0, value]
    same = np.ones((2, 2), np.uint8)
    assert whole_numbers(same) is same
    assert whole_numbers(np.array([True, False])).tolist() == [1, 0]
    for value in (0.002, 2.5, np.nan, np.inf, 2.0**31):
        other = np.array([0.0, value])
        assert whole_numbers(other) is other


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch):
    """Volumes are looked at in parts of at most 20 voxels or one slice."""
    monkeypatch.setattr(grids, "CHUNK", 20)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 2, 3, 29), (2, 1, 1), (0, 3, 3)])
def test_values_in_parts_are_those_of_the_whole(dtype: type, shape: tuple[int, ...]):
    label = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    expected = sorted({value for value in label.ravel().tolist() if value not in range(3)})
    assert values_outside(label, num_classes=3) == expected
    assert values_outside(label, num_classes=9) == []


@pytest.mark.parametrize("num_classes", [255, 256, 300])
def test_more_classes_than_the_dtype_holds(num_classes: int):
    assert values_outside(np.arange(256, dtype=np.uint8), num_classes) == [255][: num_classes == 255]


@pytest.mark.usefixtures("small_parts")
def test_values_that_are_no_classes():
    label = np.zeros((4, 5, 6))
    label[3, 4, 5], label[0, 0, 0], label[2, 2, 2] = np.nan, -1, 1.5
    assert values_outside(label, 2)[:2] == [-1, 1.5]
    assert np.isnan(values_outside(label, 2)[2])
    assert values_outside(np.array([True, False]), 2) == []
    with pytest.raises(
        ValueError, match=r"found values \[-1, 1.5, nan\], expected whole numbers from 0 to 1"
    ):
        check_classes(label, 2)


def test_nrrd_with_axes_of_its_header(tmp_path: Path):
    """Without the rule of the stored order a NRRD label is turned as a NIfTI one is."""
    header = {"space": "LPS", "space directions": np.diag([0.9, 0.7, 1.3]), "space origin": [-1, -2, 3]}
    nrrd.write(str(tmp_path / "label.nrrd"), CLASSES[::-1, ::-1], header)
    image = Grid(
        SHAPE, np.array([[0.9, 0, 0, 1 - 4 * 0.9], [0, 0.7, 0, 2 - 5 * 0.7], [0, 0, 1.3, 3], [0, 0, 0, 1]])
    )
    np.testing.assert_array_equal(read_label(tmp_path / "label.nrrd", image).voxels, CLASSES)
