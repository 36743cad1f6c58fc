"""Thirty random geometries: both inferences write the same mask, where SimpleITK says that it has to be."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tests.inputs.files import File
from tests.inputs.paths import Found, run_inference, run_predict, write_folder
from tests.inputs.table import Input
from tests.inputs.test_inputs import ALIKE, dice

AXCODES = [
    "".join(letter[flip] for letter, flip in zip(axes, flips, strict=True))
    for axes in permutations(("RL", "AP", "SI"))
    for flips in product((0, 1), repeat=3)
]
SPACES = ["".join(letters) for letters in product("RL", "AP", "SI")]


def random_input(seed: int) -> Input:
    """Any orientation, form, unit and space, an oblique grid, edges of 0.5 to 1.5 mm, halves among them."""
    rng = np.random.default_rng(seed)
    shape = [
        int(rng.choice([2 * extent + 1, rng.integers(extent * 2 // 3, 2 * extent)]))
        for extent in (31, 47, 31)
    ]
    unit, scale = [(0, 1.0), (1, 1e-3), (2, 1.0), (3, 1e3)][rng.integers(4)]
    codes = [(1, 1), (1, 0), (0, 1), (2, 2), (4, 2)][rng.integers(5)]
    place = {
        "shape": tuple(shape),
        "axcodes": str(rng.choice(AXCODES)),
        "rotation": tuple(rng.uniform(-0.35, 0.35, 3)),
    }
    if rng.random() < 0.3:
        return Input(f"random_{seed}", File(".nrrd", space=str(rng.choice(SPACES)), **place))
    return Input(f"random_{seed}", File(codes=codes, scale=scale, fields={"xyzt_units": unit}, **place))


INPUTS = [random_input(seed) for seed in range(30)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    folder = write_folder(tmp_path_factory.mktemp("random") / "data", INPUTS)
    out = tmp_path_factory.mktemp("found")
    return [run(folder, out) for run in (run_inference, run_predict)]


def itk_centroid(path: Path) -> np.ndarray:
    """Of class 1, where SimpleITK puts it, in RAS."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(sitk.ReadImage(str(path)))
    return np.array(statistics.GetCentroid(1)) * (-1, -1, 1)


@pytest.mark.parametrize("one", INPUTS, ids=lambda one: one.name)
def test_both_land_where_simpleitk_says(one: Input, found: list[Found]):
    classes, affine = one.image.volume("label")
    masks = [result.masks[one.name] for result in found]
    arrays = [np.asarray(nib.load(mask).dataobj) for mask in masks]
    np.testing.assert_array_equal(*arrays)
    assert dice(arrays[0], classes) > ALIKE
    expected = nib.affines.apply_affine(affine, np.argwhere(arrays[0] == 1).mean(axis=0))
    for mask in masks:
        np.testing.assert_allclose(itk_centroid(mask), expected, atol=0.01)


def test_the_geometries_differ():
    images = [one.image for one in INPUTS]
    assert len({image.axcodes for image in images}) > 15
    assert len({image.space for image in images if image.ending == ".nrrd"}) > 3
    assert any(63 in image.shape for image in images)  # halves: ties on the way back
