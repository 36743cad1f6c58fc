import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from dckd_ext.scores import score_case

NAMES = {0: "background", 1: "a", 2: "b"}


def surface_distances(a: np.ndarray, b: np.ndarray, spacing) -> np.ndarray:
    edge_a, edge_b = (mask & ~binary_erosion(mask) for mask in (a, b))
    return distance_transform_edt(~edge_b, sampling=spacing)[edge_a]


def scipy_hd95(a: np.ndarray, b: np.ndarray, spacing) -> float:
    return max(np.percentile(surface_distances(*pair, spacing), 95) for pair in ((a, b), (b, a)))


def blobs(seed: int, shape=(21, 30, 17)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    volume = np.zeros(shape, int)
    for number, x in ((1, 6), (2, 14)):
        centre = np.array([x, 14, 8]) + rng.integers(-2, 3, 3)
        volume[np.sum((grid - centre[:, None, None, None]) ** 2, 0) < rng.integers(12, 30)] = number
    return volume


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.2, 0.07, 0.5), (2.0, 0.4, 0.9)])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_scipy_in_millimetres(spacing, seed):
    prediction, label = blobs(seed), blobs(seed + 50)
    scores = score_case(prediction, label, spacing, NAMES)
    for number, name in ((1, "a"), (2, "b")):
        p, t = prediction == number, label == number
        assert scores[f"dice_{name}"] == pytest.approx(2 * (p & t).sum() / (p.sum() + t.sum()))
        assert scores[f"hd95_{name}"] == pytest.approx(scipy_hd95(p, t, spacing), rel=1e-5)
    assert scores["dice_mean"] == pytest.approx((scores["dice_a"] + scores["dice_b"]) / 2)
    assert scores["hd95_mean"] == pytest.approx((scores["hd95_a"] + scores["hd95_b"]) / 2)


def test_policy_for_empty_masks():
    label = np.zeros((3, 4, 12), int)
    label[1, 1, 1] = 1
    scores = score_case(np.zeros_like(label), label, (1, 1, 1), NAMES)
    assert scores["dice_a"] == 0
    assert scores["hd95_a"] == pytest.approx(13)  # the diagonal of 3 x 4 x 12 mm
    assert scores["dice_b"] == 1
    assert scores["hd95_b"] == 0
    assert score_case(label, np.zeros_like(label), (1, 1, 1), NAMES)["hd95_a"] == pytest.approx(13)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(2, 2, 2\).*\(2, 2, 3\)"):
        score_case(np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int), (1, 1, 1), NAMES)
