"""The benchmarked formulations compute one loss, and the benchmark's arithmetic is right."""

from __future__ import annotations

import pytest
import torch

from benchmarks import loss_cost
from benchmarks.formulations import FORMULATIONS, draw_pairs, sampled
from dckd_ext.losses import Pairs

CASES = {
    "as drawn": {"references": 400},
    "two classes": {"references": 200, "anchors": 60, "num_classes": 2},
    "cases of the batch alone": {"references": 60, "anchors": 40, "cases": 2},
    "one case, so own vectors only": {"references": 60, "anchors": 50, "cases": 1, "batch": 1},
    "fewer references than ranks": {"references": 9, "anchors": 20},
}


def tangential_gradient(loss: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    """The gradient on the unit sphere: what a normalisation before the loss would pass on."""
    (gradient,) = torch.autograd.grad(loss, pairs.anchors)
    anchors = pairs.anchors.detach()
    return gradient - (gradient * anchors).sum(1, keepdim=True) * anchors


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("formulation", [name for name in FORMULATIONS if name != "sampled"])
def test_all_formulations_have_one_value_and_gradient(formulation, options):
    pairs = draw_pairs(**options)
    expected, actual = sampled(pairs), FORMULATIONS[formulation](pairs)
    assert expected.item() != 0
    assert actual.item() == pytest.approx(expected.item(), abs=1e-4)
    gradients = [tangential_gradient(loss, pairs) for loss in (actual, expected)]
    assert gradients[1].any()
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_memory_counts_at_least_the_matrix_of_cosines(formulation):
    references, anchors = 2000, 390
    gb = loss_cost.memory(formulation, references, "cpu")["allocated_gb"]
    # The package's own takes a class at a time, with up to two thirds of the references.
    rows = {"sampled": anchors / 3 * 2 / 3, "metric_learning": anchors, "all_pairs": references}[formulation]
    assert rows * references * 4e-9 < gb < 20 * rows * references * 4e-9


def test_all_pairs_of_very_many_references_do_not_fit():
    assert loss_cost.fits("all_pairs", 1024, "cpu")
    assert not loss_cost.fits("all_pairs", 10**7, "cpu")
    assert loss_cost.fits("sampled", 10**7, "cpu")


def test_the_summary_gives_exponents_and_ratios():
    cases = [
        loss_cost.case_of(name, n, "cpu", [n**power * 1e-9], {"allocated_gb": n * 1e-6 * factor})
        for name, power, factor in (("sampled", 1, 1), ("all_pairs", 2, 30))
        for n in (1000, 4000)
    ]
    summary = loss_cost.summarise(cases)
    assert [row["seconds"] for row in summary["growth"]] == pytest.approx([1, 2])
    assert [row["times_slower"] for row in summary["ratios"]] == pytest.approx([1000, 4000])
    assert [row["times_memory"] for row in summary["ratios"]] == pytest.approx([30, 30])
