"""Grids in the world: distances, bounds and the nearest voxel, against plain loops and scipy."""

from itertools import product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from dckd_ext.data import ABUS_MAX_EXTENT, ABUS_SPACING, grids
from dckd_ext.data.grids import (
    Grid,
    check_resampling,
    corner_distance,
    extent_problem,
    nearest,
    places,
    resample_back,
)


def turned(*angles: float, spacing: float = 1.0, origin: float = 0.0) -> np.ndarray:
    return nib.affines.from_matvec(nib.eulerangles.euler2mat(*angles) * spacing, np.full(3, origin))


@settings(deadline=None, max_examples=30)
@given(angles=st.tuples(*[st.floats(-3, 3)] * 3), origin=st.floats(-50, 50), spacing=st.floats(0.1, 3))
def test_corner_distance(angles: tuple[float, ...], origin: float, spacing: float):
    shape, one, other = (4, 5, 6), np.eye(4), turned(*angles, spacing=spacing, origin=origin)
    corners = [np.array([*corner, 1.0]) for corner in product((0, 3), (0, 4), (0, 5))]
    expected = max(np.linalg.norm((one - other) @ corner) for corner in corners)
    assert corner_distance(Grid(shape, one), Grid(shape, other)) == pytest.approx(expected, abs=1e-8)


@settings(deadline=None, max_examples=30)
@given(angles=st.tuples(*[st.floats(-3, 3)] * 3), origin=st.floats(-2, 9), spacing=st.floats(0.3, 3))
def test_nearest_is_that_of_scipy_away_from_ties(angles: tuple[float, ...], origin: float, spacing: float):
    volume = np.random.default_rng(0).integers(0, 99, (7, 8, 9))
    matrix = turned(*angles, spacing=spacing, origin=origin)
    size = (6, 5, 7)
    found = nearest(volume, matrix, size)
    where = nib.affines.apply_affine(matrix, np.stack(np.indices(size), axis=-1))
    expected = map_coordinates(volume, np.moveaxis(where, -1, 0), order=0, mode="nearest")
    clear = (np.abs(where - np.floor(where) - 0.5) > 1e-5).all(axis=-1)
    np.testing.assert_array_equal(found[clear], expected[clear])


@pytest.mark.parametrize("error", [0, 1e-15, -1e-15, 3e-8, -3e-8])
def test_ties_go_to_the_even_voxel_whatever_the_rounding(error: float):
    volume = np.arange(6)[:, None, None]
    matrix = np.diag([0.5, 1, 1, 1])
    matrix[0, 3] = error
    assert nearest(volume, matrix, (11, 1, 1)).ravel().tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5]


def test_slabs_make_no_difference(monkeypatch: pytest.MonkeyPatch):
    volume, matrix = np.random.default_rng(0).random((7, 8, 9)), turned(0.3, 0.2, 0.1)
    whole = nearest(volume, matrix, (8, 9, 5))
    monkeypatch.setattr(grids, "CHUNK", 50)
    assert len(list(places(matrix, (8, 9, 5)))) == 8
    np.testing.assert_array_equal(nearest(volume, matrix, (8, 9, 5)), whole)
    assert np.concatenate([part.ravel() for part in grids.parts(volume)]).shape == (volume.size,)
    assert list(grids.parts(np.zeros((3, 0, 2)))) == []


def test_back_and_forth():
    mask = np.random.default_rng(0).integers(0, 3, (5, 6, 7))
    here = Grid(mask.shape, turned(0.1, 0.2, 0.3))
    assert resample_back(mask, here, here) is mask
    finer = Grid((9, 11, 13), here.affine @ np.diag([0.5, 0.5, 0.5, 1]))
    np.testing.assert_array_equal(resample_back(mask, here, finer)[::2, ::2, ::2], mask)


@pytest.mark.parametrize(
    ("shape", "spacing", "size", "refused"),
    [
        ((40, 50, 36), (1, 1, 1), (40, 50, 36), None),
        ((16, 16, 16), (1000, 1000, 1000), (15001, 15001, 15001), "3.376e.12 in all, expected at most"),
        ((40, 50, 36), (0.001, 0.001, 0.001), (1, 1, 1), "1 in all, expected more than one"),
        ((40, 50, 1), (1, 1, 1), (40, 50, 1), None),
        ((1, 1, 1), (1, 1, 1), (1, 1, 1), None),
    ],
)
def test_what_cannot_be_meant_is_refused(shape: tuple, spacing: tuple, size: tuple, refused: str | None):
    if refused is None:
        return check_resampling(shape, spacing, size, (1, 1, 1))
    with pytest.raises(ValueError, match=refused):
        check_resampling(shape, spacing, size, (1, 1, 1))
    return None


def test_the_bound_is_the_memory_or_a_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grids, "_memory", lambda: 60.0 * 1000)
    check_resampling((5, 5, 5), (2, 2, 2), (10, 10, 10), (1, 1, 1))
    with pytest.raises(
        ValueError, match=r"1100 in all, expected at most 1000.* choose another spacing or max_voxels"
    ):
        check_resampling((5, 5, 5), (2, 2, 2), (10, 10, 11), (1, 1, 1))
    check_resampling((5, 5, 5), (2, 2, 2), (10, 10, 11), (1, 1, 1), max_voxels=1100)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="expected at most"):
        check_resampling((5, 5, 5), (2, 2, 2), (1001, 1000, 1000), (1, 1, 1))


def test_a_system_that_does_not_say_its_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("os.sysconf")
    assert grids._memory() == float("inf")


@pytest.mark.parametrize(
    ("shape", "plausible"),
    [
        ((865, 682, 354), True),
        ((843, 546, 270), True),
        ((682, 865, 354), False),  # depth and lateral exchanged: 63 mm deep
        ((354, 682, 865), False),  # axes reversed: a sweep of 411 mm
    ],
)
def test_extent_of_real_sizes(shape, plausible):
    assert (extent_problem(shape, ABUS_SPACING, ABUS_MAX_EXTENT) is None) == plausible
    assert (extent_problem(shape, (1, 1, 1), ABUS_MAX_EXTENT) is None) is False
