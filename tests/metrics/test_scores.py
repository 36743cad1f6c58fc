import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_hausdorff_distance
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

from dckd_ext.metrics.scores import binary_hd95, bounding_box, score_case, score_foreground

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


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    spacing=st.tuples(*[st.floats(0.05, 3)] * 3),
    share=st.sampled_from([0.01, 0.1, 0.6]),
)
def test_distance_is_that_of_monai(seed, shape, spacing, share):
    """Random shapes, also such that touch the border or have holes."""
    rng = np.random.default_rng(seed)
    masks = [binary_dilation(rng.random(shape) < share, iterations=int(rng.integers(1, 3))) for _ in "ab"]
    if not all(mask.any() for mask in masks):
        return
    expected = compute_hausdorff_distance(
        *(torch.from_numpy(mask)[None, None] for mask in masks),
        include_background=True,
        percentile=95,
        spacing=list(spacing),
    )
    assert binary_hd95(*masks, spacing) == pytest.approx(float(expected), rel=1e-4, abs=1e-5)  # float32 there


def test_a_prediction_of_noise_is_scored_by_part_of_its_surface(monkeypatch):
    rng = np.random.default_rng(0)
    noise, label = rng.random((40, 50, 60)) < 0.3, np.zeros((40, 50, 60), bool)
    label[5:12, 30:41, 8:20] = True
    exact = binary_hd95(noise, label, (0.5, 1, 2))
    monkeypatch.setattr("dckd_ext.metrics.scores._MOST_POINTS", 2000)
    assert binary_hd95(noise, label, (0.5, 1, 2)) == pytest.approx(exact, rel=0.02)


def test_a_false_positive_far_away():
    """The whole volume lies between the two; most of the predicted surface is far from the lesion."""
    true = np.zeros((300, 200, 100), bool)
    true[3:9, 3:9, 3:9] = True
    predicted = true.copy()
    predicted[280:290, 180:190, 80:90] = True
    expected = scipy_hd95(predicted, true, (0.2, 0.1, 0.5))
    assert binary_hd95(predicted, true, (0.2, 0.1, 0.5)) == pytest.approx(expected)
    assert expected > 50


@pytest.mark.parametrize("order", ["C", "F"])
def test_bounding_box(order):
    mask = np.zeros((5, 6, 7), bool, order=order)
    assert bounding_box(mask) is None
    mask[1, 2, 3] = mask[4, 2, 0] = True
    assert bounding_box(mask) == (slice(1, 5), slice(2, 3), slice(0, 4))


def test_all_classes_as_one_mask():
    prediction, label = blobs(1), blobs(51)
    scores = score_foreground(prediction, label, (0.5, 1, 2))
    p, t = prediction > 0, label > 0
    assert scores["dice"] == pytest.approx(2 * (p & t).sum() / (p.sum() + t.sum()))
    assert scores["hd95"] == pytest.approx(scipy_hd95(p, t, (0.5, 1, 2)))
    assert scores["recall"] == pytest.approx((p & t).sum() / t.sum())
    assert scores["precision"] == pytest.approx((p & t).sum() / p.sum())
    assert scores["lesion_ml"] == pytest.approx(t.sum() / 1000)
    assert scores["predicted_ml"] == pytest.approx(p.sum() / 1000)


def test_recall_and_precision_of_empty_masks_are_undefined():
    empty, blob = np.zeros((3, 4, 12), np.uint8), np.ones((3, 4, 12), np.uint8)
    missed, alarm = (score_foreground(*pair, (1, 1, 1)) for pair in ((empty, blob), (blob, empty)))
    assert (missed["dice"], missed["recall"]) == (0, 0)
    assert (alarm["dice"], alarm["precision"]) == (0, 0)
    assert np.isnan([missed["precision"], alarm["recall"]]).all()
    assert missed["hd95"] == alarm["hd95"] == pytest.approx(13)
    both = score_foreground(empty, empty, (1, 1, 1))
    assert (both["dice"], both["hd95"]) == (1, 0)


def test_small_types_are_enough():
    prediction, label = blobs(2), blobs(52)
    assert score_case(prediction.astype(np.uint8), label.astype(np.int16), (1, 1, 1), NAMES) == score_case(
        prediction, label, (1, 1, 1), NAMES
    )
