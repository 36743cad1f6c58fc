"""The benchmarked formulations compute one loss, and the benchmark's arithmetic is right."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import against_base, cuda, loss_cost
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


@pytest.mark.slow
def test_the_run_on_a_gpu_runs_dry_on_a_cpu(monkeypatch, tmp_path, capsys):
    """Without the trainings, which tests/bundles does."""
    parts = {name: part for name, part in cuda.PARTS.items() if name != "trainings_s"}
    monkeypatch.setattr(cuda, "PARTS", parts)
    monkeypatch.setattr("sys.argv", ["cuda", "--device", "cpu", "--small", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cuda.main()
    assert not ended.value.code, capsys.readouterr().out
    found = json.loads((tmp_path / "cuda.json").read_text())
    assert found["whole_volume"]["seconds"] > 0
    assert found["cuda_graph"]["plain_ms"] > 0
    assert found["distilled_step"]["unet_student"] > 0.2
    assert {*parts} <= {*found}


def test_the_older_build_is_beside_or_told_to_be_missing(tmp_path):
    assert not against_base.base_tree("0" * 40, tmp_path / "none")
    row = {"network": "unet_student", "task": "predict"}
    new = {"processor": 0.1, "wall": 0.2, "kernels": "OpenVINO 2026.4.1, float32, 1 thread"}
    old = {"processor": 0.7, "wall": 0.5, "kernels": {"oneDNN": 3}}
    summary = {"processor": "P", "base": "b", "rounds": 3, "load": 0.5}
    text = against_base.as_markdown({**summary, "rows": [{**row, "sides": {"new": new, "base": old}}]})
    assert "| unet_student | predict | base | 0.100 | 0.700 | 7.00 | 2.50 | OpenVINO" in text
