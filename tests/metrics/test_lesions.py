import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label as scipy_label

from dckd_ext.metrics.lesions import connected_components, score_lesions

SPACING = (0.5, 1.0, 2.0)  # a voxel is 0.001 ml


def volume(*boxes: tuple[slice, ...], shape=(16, 14, 12), value: int = 1) -> np.ndarray:
    array = np.zeros(shape, np.uint8)
    for box in boxes:
        array[box] = value
    return array


def cube(start: int, edge: int) -> tuple[slice, ...]:
    return (slice(start, start + edge),) * 3


def flood(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Components over faces, edges and corners, by plain flooding."""
    left, components = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        front, component = [left.pop()], set()
        while front:
            voxel = front.pop()
            component.add(voxel)
            for step in itertools.product((-1, 0, 1), repeat=3):
                near = tuple(a + b for a, b in zip(voxel, step, strict=True))
                if near in left:
                    left.remove(near)
                    front.append(near)
        components.append(component)
    return sorted(components, key=min)


def random_mask(seed: int, share: float, shape=(7, 6, 8)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.02, 0.08, 0.3]))
def test_components_are_those_of_flooding(seed, share):
    mask = random_mask(seed, share)
    numbers, count = connected_components(mask)
    found = [set(map(tuple, np.argwhere(numbers == one).tolist())) for one in range(1, count + 1)]
    assert sorted(found, key=min) == flood(mask)
    assert numbers.dtype == np.uint16
    assert not numbers[~mask].any()


def test_more_components_than_fit_in_sixteen_bits():
    mask = np.zeros((84, 84, 84), bool)
    mask[::2, ::2, ::2] = True
    numbers, count = connected_components(mask)
    assert count == 42**3 > np.iinfo(np.uint16).max
    np.testing.assert_array_equal(numbers, scipy_label(mask, np.ones((3, 3, 3)))[0])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shares=st.tuples(*[st.sampled_from([0.0, 0.02, 0.06, 0.2])] * 3),
    threshold=st.sampled_from([0.1, 0.5, 0.9]),
    min_overlap=st.sampled_from([0.1, 0.5]),
)
def test_agrees_with_plain_sets(seed, shares, threshold, min_overlap):
    label, prediction = random_mask(seed, shares[0]), random_mask(seed + 1, shares[1])
    rng = np.random.default_rng(seed)
    probability = np.where(random_mask(seed + 2, shares[2]), rng.integers(0, 256, label.shape), 3)
    case = score_lesions(
        prediction.astype(np.uint8) * 2,
        label.astype(np.uint8),
        SPACING,
        probability.astype(np.uint8),
        threshold,
        min_overlap,
    )
    truths, parts = flood(label), flood(prediction)
    candidates = flood(probability / 256 >= threshold)
    everywhere = set().union(*truths)
    hitting = [one for one in parts if len(one & everywhere) >= min_overlap * len(one)]
    good = [one for one in candidates if len(one & everywhere) >= min_overlap * len(one)]
    predicted = set().union(*hitting)
    assert len(case.lesions) == len(truths)
    by_size = sorted(case.lesions, key=lambda one: one.voxels)
    assert [one.voxels for one in by_size] == sorted(map(len, truths))
    expected = []
    for truth in truths:
        joined = set().union(*(part for part in hitting if part & truth))
        scores = [
            max(probability[voxel] for voxel in one) / 256
            for one in good
            if len(one & truth) / len(truth) >= min_overlap
        ]
        covered = len(truth & predicted) / len(truth)
        dice = 2 * len(joined & truth) / (len(joined) + len(truth))
        expected.append(
            (len(truth), round(covered, 9), covered >= min_overlap, round(dice, 9), max(scores, default=0))
        )
    found = [
        (one.voxels, round(one.covered, 9), one.found, round(one.dice, 9), one.score) for one in case.lesions
    ]
    assert sorted(found) == sorted(expected)
    for components, sets in ((case.components, parts), (case.candidates, candidates)):
        hits = sorted(
            (len(one), sum(bool(one & truth) for truth in truths) if one in (*hitting, *good) else 0)
            for one in sets
        )
        assert sorted((one.voxels, len(one.hits)) for one in components) == hits
        assert sum(one.false_positive for one in components) == sum(count == 0 for _, count in hits)


def test_volumes_are_in_millilitres():
    case = score_lesions(volume(cube(9, 2)), volume(cube(2, 3)), SPACING)
    assert case.lesions[0].ml == pytest.approx(0.027)
    assert case.components[0].ml == pytest.approx(0.008)
    assert case.components[0].false_positive
    assert np.isnan(case.components[0].score)
    assert np.isnan(case.lesions[0].score)
    assert case.candidates == []


@pytest.mark.parametrize(("covered", "found"), [(0, False), (6, False), (7, True), (8, True)])
def test_found_from_a_tenth_on(covered, found):
    """Seven of seventy voxels are a tenth, though 0.1 * 70 is more than 7 in floating point."""
    label = np.zeros((80, 1, 1), np.uint8)
    label[:70] = 1
    prediction = np.zeros_like(label)
    prediction[70 - covered : 75] = 1
    (lesion,) = score_lesions(prediction, label, SPACING).lesions
    assert lesion.found == found


def test_prediction_in_pieces():
    """Two pieces find the lesion together, and are joined for its Dice."""
    label = volume((slice(2, 12), slice(2, 4), slice(2, 4)))
    prediction = volume(
        (slice(2, 5), slice(2, 4), slice(2, 4)),
        (slice(8, 14), slice(2, 4), slice(2, 4)),
    )
    case = score_lesions(prediction, label, SPACING)
    assert [one.hits for one in case.components] == [(1,), (1,)]
    assert case.lesions[0].dice == pytest.approx(2 * (3 + 4) / (10 + 9))


def test_a_prediction_of_nearly_everything_finds_nothing():
    label = volume(cube(4, 3))
    prediction = np.ones_like(label)
    case = score_lesions(prediction, label, SPACING, prediction * np.uint8(255))
    assert not case.lesions[0].found
    assert case.lesions[0].score == 0
    assert [one.false_positive for one in (*case.components, *case.candidates)] == [True, True]


def test_one_component_over_two_lesions():
    label = volume(cube(2, 3), cube(6, 3))
    prediction = volume(cube(2, 7))
    case = score_lesions(prediction, label, SPACING, prediction * np.uint8(200))
    assert [one.hits for one in case.components] == [(1, 2)]
    assert [one.found for one in case.lesions] == [True, True]
    assert [one.dice for one in case.lesions] == pytest.approx([54 / (27 + 343)] * 2)
    assert [one.score for one in case.lesions] == [200 / 256] * 2
    assert [one.found for one in case.candidates] == [(1, 2)]


def test_a_candidate_at_the_edge_of_a_lesion_is_neither():
    label = volume(cube(2, 6))
    probability = volume((slice(7, 9), slice(7, 8), slice(7, 9)), value=90)
    case = score_lesions(np.zeros_like(label), label, SPACING, probability)
    (candidate,) = case.candidates
    assert candidate.hits == (1,)
    assert candidate.found == ()
    assert not candidate.false_positive
    assert case.lesions[0].score == 0


def test_the_best_of_several_candidates_counts():
    label = volume((slice(2, 12), slice(2, 4), slice(2, 4)))
    probability = np.maximum(
        volume((slice(2, 6), slice(2, 4), slice(2, 4)), value=60),
        volume((slice(8, 12), slice(2, 4), slice(2, 4)), value=130),
    )
    assert score_lesions(label * 0, label, SPACING, probability).lesions[0].score == 130 / 256


@pytest.mark.parametrize(
    ("value", "threshold", "kept"), [(25, 0.1, 0), (26, 0.1, 1), (128, 0.5, 1), (127, 0.5, 0)]
)
def test_candidates_start_at_the_threshold(value, threshold, kept):
    probability = volume(cube(3, 2), value=value)
    case = score_lesions(probability * 0, probability * 0, SPACING, probability, threshold)
    assert len(case.candidates) == kept


def test_empty_masks():
    empty, blob = volume(), volume(cube(2, 3))
    assert score_lesions(empty, empty, SPACING, empty) == ([], [], [])
    missed = score_lesions(empty, blob, SPACING, empty)
    assert missed.components == []
    assert missed.lesions[0][3:] == (0.0, False, 0.0, 0.0)
    free = score_lesions(blob, empty, SPACING, blob * np.uint8(255))
    assert free.lesions == []
    assert [one.false_positive for one in (*free.components, *free.candidates)] == [True, True]


def test_order_in_memory_does_not_matter():
    """NIfTI and NRRD arrays come with the first index fastest, predictions with the last."""
    label, prediction = random_mask(1, 0.1), random_mask(2, 0.1)
    probability = np.random.default_rng(3).integers(0, 80, label.shape).astype(np.uint8)
    straight = score_lesions(prediction, label, SPACING, probability)
    other = score_lesions(
        prediction, *map(np.asfortranarray, (label,)), SPACING, np.asfortranarray(probability)
    )
    assert repr(straight) == repr(other)


def test_refuses_other_shapes_and_types():
    blob = volume(cube(2, 3))
    with pytest.raises(ValueError, match=r"label has shape \(2, 2, 2\)"):
        score_lesions(blob, np.zeros((2, 2, 2), np.uint8), SPACING)
    with pytest.raises(ValueError, match=r"probability has type float64, expected uint8"):
        score_lesions(blob, blob, SPACING, blob * 0.5)
