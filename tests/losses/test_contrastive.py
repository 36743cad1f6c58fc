from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses import DecoupledContrastiveLoss, Pairs
from tests.losses.pair_examples import (
    assert_attached_zero,
    assert_finite_gradient_in_any_order,
    dot,
    for_many_examples,
    random_pairs,
    saved_bytes,
)


def class_mean(
    pairs: Pairs, loss: Callable[[float | None, list[float], dict[int, list[float]]], float], region: bool
) -> float:
    """Mean over anchors, then classes, of a loss of the cosines to own vector, positives and negatives."""
    refs = pairs.references
    by_class: dict[int, list[float]] = {}
    for a, anchor in enumerate(pairs.anchors):
        c, case = int(pairs.anchor_classes[a]), int(pairs.anchor_cases[a])
        own = dot(anchor, pairs.own[a]) if pairs.own_valid[a] else None
        cross: list[float] = []
        negatives: dict[int, list[float]] = {}
        for q, feature in enumerate(refs.features):
            if region and not refs.region[q]:
                continue
            k = int(refs.classes[q])
            if k != c:
                negatives.setdefault(k, []).append(dot(anchor, feature))
            elif int(refs.case_ids[q]) != case:
                cross.append(dot(anchor, feature))
        if own is not None or cross:
            by_class.setdefault(c, []).append(loss(own, cross, negatives))
    return fmean(fmean(v) for v in by_class.values()) if by_class else 0.0


def decoupled(pairs: Pairs, tau: float) -> float:
    def loss(own, cross, negatives):
        value = -fmean(([] if own is None else [own]) + ([fmean(cross)] if cross else []))
        if negatives:
            value += tau * math.log(fmean(fmean(math.exp(s / tau) for s in v) for v in negatives.values()))
        return value

    return class_mean(pairs, loss, region=False)


def infonce(pairs: Pairs, tau: float) -> float:
    """Each positive against itself and all negatives, those of every class with the same total weight."""

    def loss(own, cross, negatives):
        count = sum(map(len, negatives.values()))
        others = [fmean(math.exp(s / tau) for s in v) * count / len(negatives) for v in negatives.values()]

        def of(positive):
            return -tau * math.log(math.exp(positive / tau) / (math.exp(positive / tau) + sum(others)))

        return fmean(([] if own is None else [of(own)]) + ([fmean(map(of, cross))] if cross else []))

    return class_mean(pairs, loss, region=False)


def c2am(pairs: Pairs, tau: float, alpha: float = 0.25) -> float:
    def share(cosine):
        return max((1 + cosine) / 2, 0.0005)

    def loss(own, cross, negatives):
        positives = sorted(([] if own is None else [own]) + cross, reverse=True)
        weights = [math.exp(-alpha * rank) for rank in range(len(positives))]
        pull = sum(-w * math.log(share(s)) for w, s in zip(weights, positives, strict=True)) / sum(weights)
        push = [fmean(-math.log(share(-s)) for s in v) for v in negatives.values()]
        return pull + (fmean(push) if push else 0.0)

    return class_mean(pairs, loss, region=True)


ORACLES = {"decoupled": decoupled, "infonce": infonce, "c2am": c2am}
MODES = list(ORACLES)
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
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tau", [0.1, 0.01, 1.0])
def test_equals_the_plain_loop(options, tau, mode):
    pairs = random_pairs(**options)
    value = DecoupledContrastiveLoss(tau, mode)(pairs)
    assert value.item() == pytest.approx(ORACLES[mode](pairs, tau), abs=3e-6)


@pytest.mark.parametrize("mode", MODES)
def test_computes_in_float32_under_autocast(mode):
    pairs = random_pairs(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = DecoupledContrastiveLoss(mode=mode)(pairs)
    assert value.item() == pytest.approx(ORACLES[mode](pairs, 0.1), abs=2e-6)


def test_skips_anchors_without_any_positive():
    pairs = random_pairs(num_cases=1)
    some = pairs._replace(own_valid=torch.arange(12) < 4)
    assert DecoupledContrastiveLoss()(some).item() == pytest.approx(decoupled(some, 0.1), abs=1e-6)
    assert bool(DecoupledContrastiveLoss()(some).abs() > 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("anchors", [0, 12])
def test_zero_stays_attached_where_nothing_can_be_compared(anchors, mode):
    pairs = random_pairs(anchors=anchors, num_cases=1)
    pairs = pairs._replace(own_valid=torch.zeros(anchors, dtype=torch.bool))
    assert_attached_zero(DecoupledContrastiveLoss(mode=mode), pairs)


def test_cross_case_goes_by_the_case_id_alone():
    pairs = random_pairs(anchors=1, anchor_classes=[0], references=6)
    refs = pairs.references
    same = pairs._replace(references=refs._replace(case_ids=pairs.anchor_cases.expand(6)))
    other = pairs._replace(references=refs._replace(case_ids=pairs.anchor_cases.expand(6) + 1))
    no_own = {"own_valid": torch.zeros(1, dtype=torch.bool)}
    loss = DecoupledContrastiveLoss()
    assert loss(same._replace(**no_own)).item() == 0
    assert loss(other._replace(**no_own)).item() != 0


@pytest.mark.parametrize(("mode", "low", "high"), [("decoupled", -2, 2), ("infonce", 0, 4), ("c2am", 0, 16)])
@for_many_examples
def test_is_bounded_has_finite_gradients_and_ignores_the_order(mode, low, high, pairs):
    loss = DecoupledContrastiveLoss(mode=mode)
    assert_finite_gradient_in_any_order(loss, pairs)
    assert low - 1e-6 <= loss(pairs).item() <= high + 1e-6


def test_reaches_both_bounds():
    pairs = random_pairs(anchors=1, anchor_classes=[0], references=4, reference_classes=[1])
    anchor = pairs.anchors.detach()
    opposite = pairs.references._replace(features=-anchor.expand(4, -1))
    best = pairs._replace(own=anchor, own_valid=torch.tensor([True]), references=opposite)
    worst = best._replace(own=-anchor, references=opposite._replace(features=anchor.expand(4, -1)))
    assert DecoupledContrastiveLoss()(best).item() == pytest.approx(-2, abs=1e-5)
    assert DecoupledContrastiveLoss()(worst).item() == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_memory_grows_linearly_with_the_references(mode):
    loss = DecoupledContrastiveLoss(mode=mode)
    small, large = (saved_bytes(loss, random_pairs(anchors=64, references=n)) for n in (500, 2000))
    assert 2 * small < large < 5 * small


def test_infonce_of_one_positive_and_two_classes_is_cross_entropy():
    pairs = random_pairs(anchors=4, anchor_classes=[1], references=6, reference_classes=[0])
    pairs = pairs._replace(own_valid=torch.ones(4, dtype=torch.bool))
    own = (pairs.anchors * pairs.own).sum(1, keepdim=True)
    logits = torch.cat([own, pairs.anchors @ pairs.references.features.T], 1) / 0.2
    expected = 0.2 * F.cross_entropy(logits, torch.zeros(4).long())
    torch.testing.assert_close(DecoupledContrastiveLoss(0.2, "infonce")(pairs), expected)


@pytest.mark.parametrize("alpha", [0.0, 2.5])
def test_c2am_weights_the_most_alike_positives_most(alpha):
    pairs = random_pairs(references=60)
    value = DecoupledContrastiveLoss(mode="c2am", alpha=alpha)(pairs)
    assert value.item() == pytest.approx(c2am(pairs, 0.1, alpha), abs=3e-6)


def test_c2am_attracts_a_positive_of_negative_cosine_too():
    pairs = random_pairs(anchors=1, anchor_classes=[0], reference_classes=[])
    own = F.normalize(torch.tensor([[0.2, 1, 0, 0, 0]]) - 2 * pairs.anchors.detach(), dim=1)
    pairs = pairs._replace(own=own, own_valid=torch.tensor([True]))
    assert dot(pairs.anchors[0], own[0]) < 0
    DecoupledContrastiveLoss(mode="c2am")(pairs).backward()
    assert dot(pairs.anchors.grad[0], own[0]) < 0


def test_refuses_an_unknown_mode():
    with pytest.raises(
        ValueError, match=r"Unknown mode 'dcl'.*choose from \['decoupled', 'infonce', 'c2am'\]"
    ):
        DecoupledContrastiveLoss(mode="dcl")


def test_refuses_a_temperature_that_is_not_positive():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        DecoupledContrastiveLoss(0)
