from __future__ import annotations

import dataclasses
import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dckd_ext.losses import DecoupledContrastiveLoss, Pairs

from .pair_examples import dot, permuted, random_pairs, saved_bytes


def oracle(pairs: Pairs, tau: float) -> float:
    """The formula, pair by pair."""
    refs = pairs.references
    by_class: dict[int, list[float]] = {}
    for a, anchor in enumerate(pairs.anchors):
        c, case = int(pairs.anchor_classes[a]), int(pairs.anchor_cases[a])
        cross, negatives = [], {}
        for q, feature in enumerate(refs.features):
            k = int(refs.classes[q])
            if k != c:
                negatives.setdefault(k, []).append(math.exp(dot(anchor, feature) / tau))
            elif int(refs.case_ids[q]) != case:
                cross.append(dot(anchor, feature))
        positives = [statistics.fmean(cross)] if cross else []
        if pairs.own_valid[a]:
            positives.append(dot(anchor, pairs.own[a]))
        if not positives:
            continue
        loss = -statistics.fmean(positives)
        if negatives:
            loss += tau * math.log(statistics.fmean(statistics.fmean(v) for v in negatives.values()))
        by_class.setdefault(c, []).append(loss)
    return statistics.fmean(statistics.fmean(v) for v in by_class.values()) if by_class else 0.0


CASES = {
    "two classes": {},
    "four classes": {"num_classes": 4, "anchors": 30, "references": 40},
    "one case, so own vectors only": {"num_cases": 1},
    "cold bank and no batch reference": {"reference_classes": []},
    "no negatives": {"anchor_classes": [1], "reference_classes": [1]},
    "no cross-case positives": {"anchor_classes": [0], "reference_classes": [1]},
    "patch without foreground": {"anchor_classes": [0]},
    "absent class": {"num_classes": 3, "anchor_classes": [0, 2], "reference_classes": [0, 1]},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("tau", [0.1, 0.01, 1.0])
def test_equals_the_plain_loop(options, tau):
    pairs = random_pairs(**options)
    assert DecoupledContrastiveLoss(tau)(pairs).item() == pytest.approx(oracle(pairs, tau), abs=2e-6)


def test_equals_the_plain_loop_on_bfloat16_features():
    pairs = random_pairs(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = DecoupledContrastiveLoss()(pairs)
    assert value.item() == pytest.approx(oracle(pairs, 0.1), abs=3e-2)


def test_skips_anchors_without_any_positive():
    pairs = random_pairs(num_cases=1)
    some = dataclasses.replace(pairs, own_valid=torch.arange(12) < 4)
    assert DecoupledContrastiveLoss()(some).item() == pytest.approx(oracle(some, 0.1), abs=1e-6)
    assert bool(DecoupledContrastiveLoss()(some).abs() > 0)


@pytest.mark.parametrize("anchors", [0, 12])
def test_zero_stays_attached_where_nothing_can_be_compared(anchors):
    pairs = random_pairs(anchors=anchors, num_cases=1)
    pairs = dataclasses.replace(pairs, own_valid=torch.zeros(anchors, dtype=torch.bool))
    value = DecoupledContrastiveLoss()(pairs)
    value.backward()
    assert value.item() == 0
    assert pairs.anchors.grad is not None
    assert not pairs.anchors.grad.any()


def test_cross_case_goes_by_the_case_id_alone():
    pairs = random_pairs(anchors=1, anchor_classes=[0], references=6)
    refs = pairs.references
    same = dataclasses.replace(pairs, references=refs._replace(case_ids=pairs.anchor_cases.expand(6)))
    other = dataclasses.replace(pairs, references=refs._replace(case_ids=pairs.anchor_cases.expand(6) + 1))
    no_own = {"own_valid": torch.zeros(1, dtype=torch.bool)}
    loss = DecoupledContrastiveLoss()
    assert loss(dataclasses.replace(same, **no_own)).item() == 0
    assert loss(dataclasses.replace(other, **no_own)).item() != 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), num_classes=st.integers(2, 4), num_cases=st.integers(1, 3))
def test_is_bounded_has_finite_gradients_and_ignores_the_order(seed, num_classes, num_cases):
    pairs = random_pairs(seed, num_classes=num_classes, num_cases=num_cases)
    value = DecoupledContrastiveLoss()(pairs)
    value.backward()
    assert -2 - 1e-6 <= value.item() <= 2 + 1e-6
    assert pairs.anchors.grad.isfinite().all()
    assert DecoupledContrastiveLoss()(permuted(pairs, seed)).item() == pytest.approx(value.item(), abs=1e-6)


def test_reaches_both_bounds():
    pairs = random_pairs(anchors=1, anchor_classes=[0], references=4, reference_classes=[1])
    anchor = pairs.anchors.detach()
    opposite = pairs.references._replace(features=-anchor.expand(4, -1))
    best = dataclasses.replace(pairs, own=anchor, own_valid=torch.tensor([True]), references=opposite)
    worst = dataclasses.replace(
        best, own=-anchor, references=opposite._replace(features=anchor.expand(4, -1))
    )
    assert DecoupledContrastiveLoss()(best).item() == pytest.approx(-2, abs=1e-5)
    assert DecoupledContrastiveLoss()(worst).item() == pytest.approx(2, abs=1e-5)


def test_memory_grows_linearly_with_the_references():
    loss = DecoupledContrastiveLoss()
    small, large = (saved_bytes(loss, random_pairs(anchors=64, references=n)) for n in (500, 2000))
    assert 2 * small < large < 5 * small


def test_refuses_a_temperature_that_is_not_positive():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        DecoupledContrastiveLoss(0)
