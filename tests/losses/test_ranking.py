from __future__ import annotations

import math
import statistics

import pytest
import torch

from dckd_ext.losses import Pairs, RankingLoss
from tests.losses.pair_examples import (
    assert_attached_zero,
    assert_finite_gradient_in_any_order,
    dot,
    for_many_examples,
    random_pairs,
    saved_bytes,
)


def oracle(pairs: Pairs, margin: float = 0.4, gamma: float = 10.0, alpha: float = 0.25, k: int = 16) -> float:
    """The formula, pair by pair."""
    refs = pairs.references
    losses = []
    for a, anchor in enumerate(pairs.anchors):
        c, case = int(pairs.anchor_classes[a]), int(pairs.anchor_cases[a])
        positives = [1 - dot(anchor, pairs.own[a])] if pairs.own_valid[a] else []
        negatives = []
        for q, feature in enumerate(refs.features):
            if not refs.interior[q]:
                continue
            if int(refs.classes[q]) != c:
                negatives.append(1 - dot(anchor, feature))
            elif int(refs.case_ids[q]) != case:
                positives.append(1 - dot(anchor, feature))
        ranked = list(zip(sorted(positives, reverse=True), sorted(negatives), strict=False))[:k]
        if not ranked:
            continue
        weights = [math.exp(-alpha * r) for r in range(len(ranked))]
        terms = [math.log1p(math.exp(gamma * (margin + p - n))) / gamma for p, n in ranked]
        losses.append(sum(w * t for w, t in zip(weights, terms, strict=True)) / sum(weights))
    return statistics.fmean(losses) if losses else 0.0


CASES = {
    "two classes": {},
    "many references": {"references": 90, "anchors": 8},
    "four classes": {"num_classes": 4, "anchors": 30, "references": 40},
    "one case, so own vectors only": {"num_cases": 1},
    "no references": {"reference_classes": []},
    "no negatives": {"anchor_classes": [1], "reference_classes": [1]},
    "patch without foreground": {"anchor_classes": [0]},
    "absent class": {"num_classes": 3, "anchor_classes": [0, 2], "reference_classes": [0, 1]},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("settings_", [{}, {"k": 3, "alpha": 2.5}, {"margin": 0.1, "gamma": 2.0}])
def test_equals_the_plain_loop(options, settings_):
    pairs = random_pairs(**options)
    assert RankingLoss(**settings_)(pairs).item() == pytest.approx(oracle(pairs, **settings_), abs=2e-6)


def test_equals_the_plain_loop_on_bfloat16_features():
    pairs = random_pairs(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = RankingLoss()(pairs)
    assert value.item() == pytest.approx(oracle(pairs), abs=3e-2)


@pytest.mark.parametrize("anchors", [0, 12])
def test_zero_stays_attached_where_nothing_can_be_compared(anchors):
    assert_attached_zero(RankingLoss(), random_pairs(anchors=anchors, reference_classes=[]))


def test_leaves_out_references_at_the_boundary():
    pairs = random_pairs()
    refs = pairs.references
    moved = torch.where(refs.interior[:, None], refs.features, -refs.features)
    changed = pairs._replace(references=refs._replace(features=moved))
    assert not torch.equal(moved, refs.features)
    assert RankingLoss()(changed).item() == RankingLoss()(pairs).item()


@for_many_examples
def test_is_positive_has_finite_gradients_and_ignores_the_order(pairs):
    assert_finite_gradient_in_any_order(RankingLoss(), pairs)
    assert RankingLoss()(pairs).item() >= 0


def test_memory_grows_linearly_with_the_references():
    small, large = (saved_bytes(RankingLoss(), random_pairs(anchors=64, references=n)) for n in (500, 2000))
    assert small < large < 5 * small


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"k": 0}])
def test_refuses_settings_that_are_not_positive(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        RankingLoss(**wrong)
