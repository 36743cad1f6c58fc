"""Classes and regions of a teacher as those of a student, against sums of probabilities."""

from itertools import product

import pytest
import torch

from dckd_ext.networks.class_maps import ClassMap

LOGITS = 3 * torch.randn(2, 3, 2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_exclusive_classes_add_up():
    mapped = ClassMap([(2, [1]), (0, [0]), (1, [0])], 3, 2)(LOGITS)
    p = LOGITS.softmax(1)
    torch.testing.assert_close(mapped.softmax(1), torch.stack([p[:, 0] + p[:, 1], p[:, 2]], 1))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_regions_become_exclusive_in_the_order_given(order):
    """The oracle adds the probability of every combination of regions to the class of the last one held."""
    targets = {0: 1, 1: 2, 2: 1}
    mapped = ClassMap([(k, [targets[k]]) for k in order], 3, 3, from_regions=True)(LOGITS)
    p = LOGITS.sigmoid()
    expected = torch.zeros(2, 3, 2, 3, 2, dtype=p.dtype)
    for held in product([False, True], repeat=3):
        chance = torch.ones_like(p[:, 0])
        for k in range(3):
            chance = chance * (p[:, k] if held[k] else 1 - p[:, k])
        winners = [targets[k] for k in order if held[k]]
        expected[:, winners[-1] if winners else 0] += chance
    torch.testing.assert_close(mapped.softmax(1), expected)
    torch.testing.assert_close(mapped.exp().sum(1), torch.ones_like(mapped[:, 0]))


def test_regions_of_regions_hold_where_one_does():
    mapped = ClassMap([(0, [0]), (1, [1]), (2, [0])], 3, 2, True, True)(LOGITS)
    p = LOGITS.sigmoid()
    torch.testing.assert_close(mapped.sigmoid(), torch.stack([1 - (1 - p[:, 0]) * (1 - p[:, 2]), p[:, 1]], 1))
    torch.testing.assert_close(mapped[:, 1], LOGITS[:, 1])


def test_classes_make_regions_that_overlap():
    mapped = ClassMap([(1, [0, 1]), (2, [0])], 3, 2, False, True)(LOGITS)
    p = LOGITS.softmax(1)
    torch.testing.assert_close(mapped.sigmoid(), torch.stack([p[:, 1] + p[:, 2], p[:, 1]], 1))


@pytest.mark.parametrize("value", [-200.0, 200.0])
@pytest.mark.parametrize("flags", [(True, False), (True, True), (False, True)])
def test_sure_teachers_stay_finite(value, flags):
    pairs = [(0, [1]), (1, [1]), (2, [0])] if flags[1] else [(0, [1]), (1, [1])]
    assert ClassMap(pairs, 3, 2, *flags)(torch.full((1, 3, 1, 1, 1), value)).isfinite().all()
