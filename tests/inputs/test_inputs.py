"""Every input of the table on every path: right, refused with its text, or warned of."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tests.inputs.__main__ import counts
from tests.inputs.paths import RUNS, Folder, Found, write_folder
from tests.inputs.scene import scene
from tests.inputs.table import INPUTS, PATHS, Input

ALIKE = 0.85  # Dice of what lies right, at any spacing of the table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_folder(tmp_path_factory.mktemp("inputs") / "data", INPUTS)


@pytest.fixture(scope="module")
def found(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What each path made of all inputs."""
    out = tmp_path_factory.mktemp("found")
    return {path: RUNS[path](folder, out) for path in PATHS}


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """The lower one of both classes."""
    return min(
        2
        * np.count_nonzero((one == k) & (other == k))
        / max(1, np.count_nonzero(one == k) + np.count_nonzero(other == k))
        for k in (1, 2)
    )


def itk_corners(path: Path) -> np.ndarray:
    image = sitk.ReadImage(str(path))
    ends = [(0, n - 1) for n in image.GetSize()[:3]]
    rest = [0] * (image.GetDimension() - 3)
    corners = [(x, y, z, *rest) for x in ends[0] for y in ends[1] for z in ends[2]]
    return np.array([image.TransformIndexToPhysicalPoint(corner)[:3] for corner in corners])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("one", INPUTS, ids=lambda one: one.name)
def test_outcome(one: Input, path: str, found: dict[str, Found]):
    kind, text = one.outcome(path)
    result = found[path]
    if kind == "refused":
        assert text in result.refused[one.name]
        assert one.name not in result.masks
        return
    assert one.name not in result.refused
    warnings = result.warned.get(one.name, [])
    assert bool(warnings) == (kind == "warned"), warnings
    assert all(text in warning for warning in warnings)


def seen(one: Input) -> bool:
    """Whether there is something to see in the image."""
    return not one.refused and "all voxels are" not in one.warned


@pytest.mark.parametrize("path", ["inference", "predict"])
@pytest.mark.parametrize("one", [one for one in INPUTS if not one.refused], ids=lambda one: one.name)
def test_masks(one: Input, path: str, found: dict[str, Found], folder: Folder):
    """The right classes, in the image's shape, where each reader shows the image."""
    mask = nib.load(found[path].masks[one.name])
    classes, _ = one.image.volume("label")
    assert mask.shape == classes.shape
    if seen(one):
        assert dice(np.asarray(mask.dataobj), classes) > ALIKE
    image = folder.images[one.name]
    if image.suffix.lower() in (".nii", ".gz"):
        np.testing.assert_array_equal(mask.affine, nib.load(image).affine)
    if one.itk:
        np.testing.assert_allclose(itk_corners(found[path].masks[one.name]), itk_corners(image), atol=1e-4)


@pytest.mark.parametrize("one", [one for one in INPUTS if not one.refused], ids=lambda one: one.name)
def test_both_inferences_write_the_same_mask(one: Input, found: dict[str, Found]):
    masks = [nib.load(found[path].masks[one.name]) for path in ("inference", "predict")]
    np.testing.assert_array_equal(*(np.asarray(mask.dataobj) for mask in masks))
    assert masks[0].header == masks[1].header


@pytest.mark.parametrize("one", INPUTS, ids=lambda one: one.name)
def test_what_is_scored_and_trained_on(one: Input, found: dict[str, Found]):
    """Scores are those of a right answer; training gets the scene to the right, front and top, at 1 mm."""
    if one.outcome("training")[0] == "refused":
        assert one.name not in found["training"].data
        assert one.name not in found["evaluation"].scores
        return
    if not seen(one):
        return
    assert found["evaluation"].scores[one.name] > 0.95
    image, label = found["training"].data[one.name]
    bright, classes, _ = scene(image.shape)
    assert dice(label, classes) > ALIKE
    assert np.mean((image > 0.6) == (bright > 130)) > 0.98


def test_the_scene_tells_every_orientation_apart():
    """Also a shift by a block; what lies wrong is far below `ALIKE`."""
    _, classes, _ = scene()
    wrong = [np.roll(classes, 8, axis) for axis in range(3)]
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turn = classes.transpose(axes)[tuple(slice(None, None, flip) for flip in flips)]
            if turn.shape == classes.shape and (axes, flips) != ((0, 1, 2), (1, 1, 1)):
                wrong.append(turn)
    assert len(wrong) == 18
    assert max(dice(classes, other) for other in wrong) < 0.6


def test_check_lists_no_file_that_is_no_volume(found: dict[str, Found]):
    """Nor the data files of detached headers: such problems are of no case."""
    assert "" not in found["check"].refused


def test_every_path_finds_something_to_refuse_and_to_warn_of():
    for path in PATHS:
        kinds = [one.outcome(path)[0] for one in INPUTS]
        assert {"right", "refused", "warned"} == set(kinds)
    assert len({one.name for one in INPUTS}) == len(INPUTS)


def test_the_counts_in_the_docs_are_those_of_the_table():
    assert counts() in (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
