from __future__ import annotations

import statistics

import pytest
import torch
from torch import Tensor

from dckd_ext.losses import DistillationLoss, Pairs, Term
from dckd_ext.losses.peers import CIRKDLoss
from tests.losses.batch_examples import SIZE, cubes, output_for, sampler
from tests.losses.map_examples import cosine, divergence, grid_cells, maps, softmax, vectors
from tests.losses.pair_examples import dot, random_pairs, saved_bytes


def batch_oracle(student: Tensor, teacher: Tensor, tau: float, temperature: float) -> float:
    s, t = vectors(student), vectors(teacher)
    rows = []
    for i in range(len(s)):
        for j in range(len(s)):
            for cell in grid_cells():
                q, p = (
                    softmax([cosine(f[i][cell], f[j][k]) / tau / temperature for k in grid_cells()])
                    for f in (s, t)
                )
                rows.append(temperature**2 * divergence(p, q))
    return statistics.fmean(rows)


def memory_oracle(pairs: Pairs, region: bool, tau: float, temperature: float) -> float:
    refs = pairs.references.select(pairs.references.region == region).features
    rows = []
    for a in range(len(pairs.anchors)):
        if pairs.own_valid[a] and len(refs):
            q, p = (
                softmax([dot(x[a], r) / tau / temperature for r in refs]) for x in (pairs.anchors, pairs.own)
            )
            rows.append(temperature**2 * divergence(p, q))
    return statistics.fmean(rows) if rows else 0.0


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("settings", [(0.1, 1.0), (1.0, 2.0)])
def test_relations_of_the_batch_equal_the_plain_loop(batch, settings):
    student, teacher = maps(batch)
    value = CIRKDLoss(1.0, 0.0, 0.0, *settings)(student, teacher, random_pairs())
    assert value.item() == pytest.approx(batch_oracle(student, teacher, *settings), rel=1e-4)


@pytest.mark.parametrize("settings", [(0.1, 1.0), (1.0, 2.0)])
@pytest.mark.parametrize("options", [{}, {"num_classes": 4, "references": 40}, {"anchor_classes": [0]}])
def test_relations_to_the_memory_equal_the_plain_loop(options, settings):
    pairs = random_pairs(**options)
    for weights, region in (((0.0, 0.1, 0.0), False), ((0.0, 0.0, 0.1), True)):
        value = CIRKDLoss(*weights, *settings)(*maps(), pairs)
        assert value.item() == pytest.approx(0.1 * memory_oracle(pairs, region, *settings), rel=1e-4)


def test_default_weights():
    student, teacher = maps()
    pairs = random_pairs()
    expected = batch_oracle(student, teacher, 0.1, 1.0)
    expected += 0.1 * sum(memory_oracle(pairs, region, 0.1, 1.0) for region in (False, True))
    assert CIRKDLoss()(student, teacher, pairs).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "pairs",
    [
        random_pairs(reference_classes=[]),
        random_pairs(anchors=0),
        random_pairs()._replace(own_valid=torch.zeros(12, dtype=torch.bool)),
    ],
    ids=["cold memory", "no anchors", "the teacher is wrong"],
)
def test_an_empty_memory_adds_an_attached_zero(pairs):
    value = CIRKDLoss(batch_weight=0.0)(*maps(), pairs)
    pairs.anchors.grad = None
    value.backward()
    assert value.item() == 0
    assert pairs.anchors.grad is not None


class Recorder(CIRKDLoss):
    """Keeps the references of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Pairs] = []

    def forward(self, features: Tensor, teacher_features: Tensor, pairs: Pairs) -> Tensor:
        self.seen.append(pairs)
        return super().forward(features, teacher_features, pairs)


def test_memory_rows_carry_their_own_class_and_case_and_none_is_drawn_that_was_never_written():
    """Two bugs of public code: queues with voxels of another class, and draws of rows still empty.

    The teacher's features encode class and case, so that every row can be read back.
    """
    recorder = Recorder()
    loss = DistillationLoss(
        {"cirkd": Term(recorder)}, pairs=sampler(3, references_per_class=3, grid_stride=1)
    )
    for step in range(4):
        label = cubes(2, 3).roll(step, 3)
        output = output_for(label, 3)
        output = output._replace(case_ids=output.case_ids + 2 * step)
        angle = label[:, 0] + 0.1 * output.case_ids.view(-1, 1, 1, 1)
        encoded = torch.stack([angle.cos(), angle.sin()], 1)
        encoded = torch.cat([encoded, torch.zeros(2, 3, *SIZE)], 1)
        loss(output._replace(teacher_features=encoded), label)
        references = recorder.seen[-1].references
        angle = references.classes + 0.1 * references.case_ids
        expected = torch.stack([angle.cos(), angle.sin()], 1)
        torch.testing.assert_close(references.features[:, :2], expected, atol=1e-5, rtol=0)
    stored = [len(pairs.references.classes) for pairs in recorder.seen]
    assert stored == sorted(set(stored))  # the memory has been used, and grew
    assert loss.values["cirkd"] > 0


def test_memory_grows_linearly_with_the_references_and_not_with_the_voxels():
    def saved(references: int, edge: int) -> int:
        student = torch.randn(1, 1, edge, edge, edge, requires_grad=True)
        pairs = random_pairs(anchors=64, references=references)
        return saved_bytes(lambda p: CIRKDLoss(cells=64)(student, student, p), pairs)

    assert saved(500, 4) < saved(2000, 4) < 5 * saved(500, 4)
    voxels = 4 * 16**3  # bytes of one float32 map
    assert saved(500, 16) < saved(500, 4) + 4 * voxels


@pytest.mark.parametrize("wrong", [{"tau": 0.0}, {"temperature": -1.0}, {"cells": 0}])
def test_refuses_settings_that_are_not_positive(wrong):
    with pytest.raises(ValueError, match=f"The {next(iter(wrong))} must be positive"):
        CIRKDLoss(**wrong)


def test_refuses_a_negative_weight():
    with pytest.raises(ValueError, match=r"must not be negative, got 1.0, -0.1, 0.1"):
        CIRKDLoss(voxel_weight=-0.1)
