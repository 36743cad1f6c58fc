import numpy as np
import pytest

from dckd_ext.phantom.fields import RandomField
from dckd_ext.phantom.lesions import draw_cyst, draw_fat_lobule, draw_lesion
from dckd_ext.phantom.shapes import Body


def body(kind: str, seed: int) -> Body:
    rng = np.random.default_rng(seed)
    if kind in ("M", "B"):
        return draw_lesion(rng, kind, 0)[0].scaled(6)
    return draw_cyst(rng) if kind == "cyst" else draw_fat_lobule(rng)


def inside(shape: Body, step: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    half = int(np.ceil(shape.reach.max() * 1.3 / step))
    grid = np.arange(-half, half + 1) * step
    return np.stack([shape.level(grid, grid, z) < 1 for z in grid], axis=-1), grid


@pytest.mark.parametrize("kind", ["M", "B", "cyst", "lobule"])
@pytest.mark.parametrize("seed", [0, 1])
def test_volume_and_reach_against_counted_voxels(kind, seed):
    shape = body(kind, seed)
    voxels, grid = inside(shape)
    assert voxels.sum() * 0.25**3 / 1000 == pytest.approx(shape.volume, rel=0.03)
    for axis in range(3):
        found = np.abs(grid[np.argwhere(voxels)[:, axis]]).max()
        assert found <= shape.reach[axis]


def test_scaling_and_moving():
    shape = body("B", 0)
    assert shape.scaled(2).volume == pytest.approx(8 * shape.volume)
    moved = shape.at(np.array([1.0, 2.0, 3.0]))
    grid = np.linspace(-5, 5, 9)
    assert moved.level(grid + 1, grid + 2, 4.0) == pytest.approx(shape.level(grid, grid, 1.0))


def test_malignant_lesions_stand_up_and_are_rougher():
    def roughness(kind: str) -> float:
        return float(np.mean([body(kind, seed).surface.samples.std() for seed in range(8)]))

    for seed in range(8):
        assert body("M", seed).axes[1] > body("M", seed).axes[[0, 2]].mean()
        assert body("B", seed).axes[1] < body("B", seed).axes[[0, 2]].min()
    assert roughness("M") > 3 * roughness("B")


def test_random_field_has_the_correlation_it_says():
    depth = np.arange(200) * 0.5
    lateral = np.arange(200) * 0.5
    products, squares = [], []
    for seed in range(20):
        field = RandomField(np.random.default_rng(seed), (4.0, 2.0, 3.0), depth).plane(lateral, 7.0)
        products.append((field[:, :-6] * field[:, 6:]).mean())  # 3 mm apart in depth
        squares.append((field**2).mean())
    assert np.mean(squares) == pytest.approx(1, abs=0.05)
    assert np.mean(products) == pytest.approx(np.exp(-(3**2) / (2 * 2**2)), abs=0.06)


def test_random_field_along_a_line_is_that_of_the_plane_at_depth_0():
    field = RandomField(np.random.default_rng(0), (4.0, 2.0, 3.0), np.array([0.0, 1.0]))
    lateral = np.linspace(0, 20, 30)
    assert field.line(lateral, 5.0) == pytest.approx(field.plane(lateral, 5.0)[:, 0], abs=1e-4)
