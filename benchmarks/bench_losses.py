"""Seconds of the loss formulations with pytest-benchmark.

`pytest` does not collect this file by itself:

    pytest benchmarks/bench_losses.py --benchmark-json runs/bench/losses.json
"""

from __future__ import annotations

import pytest
import torch

from benchmarks.formulations import FORMULATIONS, draw_pairs, sampled
from benchmarks.loss_cost import DEVICES, REFERENCES, fits, forward_backward


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("references", REFERENCES)
@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_forward_and_backward(benchmark, formulation, references, device):
    if not fits(formulation, references, device):
        pytest.skip(f"{formulation} of {references} references does not fit into memory")
    torch.set_num_threads(1)
    pairs = draw_pairs(references, device=device)
    benchmark.group = f"{references} references, {device}"
    rounds = 3 if formulation == "all_pairs" else 20
    value = benchmark.pedantic(
        forward_backward, args=(formulation, pairs), rounds=rounds, warmup_rounds=min(rounds - 1, 3)
    )
    assert value == pytest.approx(sampled(pairs).item(), abs=1e-4)
