from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses import DecoupledContrastiveLoss, Pairs, PairSampler, RankingLoss
from dckd_ext.losses.bank import ReferenceBank
from dckd_ext.losses.cells import Cells
from tests.losses.batch_examples import SIZE, cubes, output_for, sampler


def counts(classes: Tensor) -> dict[int, int]:
    return {int(c): int((classes == c).sum()) for c in classes.unique()}


@pytest.mark.parametrize("num_classes", [2, 3])
def test_draws_anchors_and_references_of_every_case_and_class(num_classes):
    label = cubes(2, num_classes)
    pairs = sampler(num_classes, grid_stride=1, anchors_per_class=6, references_per_class=4)(
        output_for(label, num_classes), label
    )
    assert counts(pairs.anchor_classes) == dict.fromkeys(range(num_classes), 2 * (6 + 1))
    assert counts(pairs.references.classes) == dict.fromkeys(range(num_classes), 2 * (4 + 1))
    assert counts(pairs.anchor_cases) == dict.fromkeys([10, 11], num_classes * 7)
    assert pairs.references.region.sum() == 2 * num_classes
    for vectors in (pairs.anchors, pairs.own, pairs.references.features):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    assert pairs.anchors.requires_grad
    assert not pairs.references.features.requires_grad


def test_rows_carry_the_teacher_vector_of_their_own_class_and_case():
    """The teacher's features encode class and case, so that every row can be read back."""
    label = cubes(2, 3)
    output = output_for(label, 3)
    angle = label[:, 0] + 4 * torch.arange(2).view(-1, 1, 1, 1)
    features = torch.stack([angle.cos(), angle.sin()], 1)
    output = output._replace(teacher_features=torch.cat([features, torch.zeros(2, 3, *SIZE)], 1))
    pairs = sampler(3, grid_stride=1)(output, label)

    def check(vectors: Tensor, classes: Tensor, cases: Tensor) -> None:
        angle = classes + 4 * (cases - 10)
        torch.testing.assert_close(vectors[:, :2], torch.stack([angle.cos(), angle.sin()], 1))

    check(pairs.own, pairs.anchor_classes, pairs.anchor_cases)
    check(pairs.references.features, pairs.references.classes, pairs.references.case_ids)
    assert pairs.own_valid.all()


def test_region_anchor_is_the_mean_projected_feature_of_the_class():
    label = cubes(1)
    output = output_for(label)
    samples = sampler(grid_stride=1, anchors_per_class=3)
    pairs = samples(output, label)
    projected = samples.projector(output.features)
    for c in (0, 1):
        expected = F.normalize(projected[0][:, label[0, 0] == c].mean(1), dim=0)
        assert ((pairs.anchors - expected).abs().amax(1) < 1e-5).any()


def test_references_exclude_what_the_teacher_gets_wrong_and_own_is_invalid_there():
    label = cubes(1)
    output = output_for(label)
    wrong = output._replace(teacher_logits=output.teacher_logits.flip(1))
    pairs = sampler(grid_stride=1)(wrong, label)
    assert len(pairs.references.classes) == 0
    assert len(pairs.anchors) > 0
    assert not pairs.own_valid.any()
    assert RankingLoss()(pairs).item() == DecoupledContrastiveLoss()(pairs).item() == 0


def test_half_of_the_anchors_are_mispredicted():
    label = cubes(1)
    output = output_for(label)
    sign = torch.where(torch.arange(SIZE[2]) < 3, 1.0, -1.0)  # where the student is right
    marked = output._replace(
        logits=sign * output.teacher_logits, teacher_features=sign.expand(1, 5, *SIZE).contiguous()
    )
    pairs = sampler(grid_stride=1, anchors_per_class=8)(marked, label)
    for c in (0, 1):
        right = int((pairs.own[pairs.anchor_classes == c, 0] > 0).sum())
        assert right in (4, 5)  # four voxels, and perhaps the region


def test_patch_without_foreground_draws_foreground_negatives_from_the_bank():
    samples = sampler()
    samples(output_for(cubes()), cubes())
    empty = torch.zeros(1, 1, *SIZE)
    pairs = samples(output_for(empty), empty)
    assert counts(pairs.anchor_classes).keys() == {0}
    assert counts(pairs.references.classes).keys() == {0, 1}


def test_pairs_hold_batch_and_bank_without_duplicates_and_the_bank_grows_in_training_only():
    label = cubes()
    samples = sampler(references_per_class=2)
    first = samples(output_for(label), label)
    assert len(samples.bank.references().classes) == len(first.references.classes)
    second = samples(output_for(label), label)
    assert len(second.references.features.unique(dim=0)) == len(second.references.features)
    assert len(second.references.features) == 2 * len(first.references.features)
    stored = len(samples.bank.references().classes)
    samples.eval()(output_for(label), label)
    assert len(samples.bank.references().classes) == stored


def test_batch_of_one_with_a_cold_bank_trains_on_own_vectors():
    label = cubes(1)
    output = output_for(label)
    pairs = sampler()(output, label)
    (DecoupledContrastiveLoss()(pairs) + RankingLoss()(pairs)).backward()
    assert output.features.grad.isfinite().all()
    assert output.features.grad.any()


def test_without_any_labelled_voxel_the_projector_stays_in_the_graph():
    samples = sampler()
    label = torch.full((1, 1, *SIZE), 255.0)
    pairs = samples(output_for(label), label)
    assert len(pairs.anchors) == 0
    (DecoupledContrastiveLoss()(pairs) + RankingLoss()(pairs) + pairs.zero).backward()
    assert all(p.grad is not None and not p.grad.any() for p in samples.projector.parameters())


def test_the_scale_of_raw_features_does_not_matter():
    label = cubes()
    output = output_for(label)
    samples = sampler(bank=False)

    def drawn(student_scale: float, teacher_scale: float) -> Pairs:
        torch.manual_seed(0)
        scaled = output._replace(
            features=output.features * student_scale, teacher_features=output.teacher_features * teacher_scale
        )
        return samples(scaled, label)

    # The student's scale is undone by instance norm but for its epsilon, the teacher's exactly.
    reference = DecoupledContrastiveLoss()(drawn(1, 1))
    torch.testing.assert_close(DecoupledContrastiveLoss()(drawn(1, 1000)), reference)
    torch.testing.assert_close(DecoupledContrastiveLoss()(drawn(1000, 1)), reference, atol=1e-3, rtol=1e-3)


def test_bfloat16_features_under_autocast_give_float32_pairs():
    label = cubes()
    output = output_for(label)
    low = output._replace(
        features=output.features.bfloat16(), teacher_features=output.teacher_features.bfloat16()
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pairs = sampler()(low, label)
    assert {pairs.anchors.dtype, pairs.own.dtype, pairs.references.features.dtype} == {torch.float32}


@pytest.mark.parametrize(
    ("size", "stride", "cells"), [(SIZE, 1, 768), (SIZE, 2, 96), ((4, 6, 4), 1, 96), ((2, 3, 4), 2, 24)]
)
def test_the_grid_is_the_coarsest_of_label_and_features(size, stride, cells):
    label = torch.zeros(1, 1, *SIZE)
    output = output_for(label, features=size)
    pairs = sampler(grid_stride=stride, anchors_per_class=10_000)(output, label)
    assert len(pairs.anchors) == cells + 1


def test_interior_cells_lie_off_the_boundary_and_shares_count_the_main_class_only():
    label = torch.zeros(1, 1, 4, 1, 1)
    label[:, :, 2:] = 1
    logits = torch.randn(1, 2, 4, 1, 1)
    assert Cells.of(label, logits, logits, (4, 1, 1)).interior.tolist() == [[True, False, False, True]]
    assert Cells.of(label, logits, logits, (2, 1, 1)).interior.tolist() == [[False, False]]
    label[:, :, 1] = 1
    assert Cells.of(label, logits, logits, (1, 1, 1)).share.tolist() == [[[0.0], [0.75]]]


def test_the_bank_is_part_of_the_state_but_adds_no_parameter():
    samples = sampler()
    names = set(samples.state_dict())
    assert {name.split(".")[0] for name in names} == {"projector", "bank"}
    assert {name.split(".")[0] for name, _ in samples.named_parameters()} == {"projector"}


def test_errors_name_what_is_wrong():
    label = cubes()
    output = output_for(label)
    with pytest.raises(ValueError, match="set student_tap"):
        sampler()(output._replace(features=None), label)
    with pytest.raises(ValueError, match="set teacher_tap"):
        sampler()(output._replace(teacher_features=None), label)
    with pytest.raises(ValueError, match="teacher's logits have 1 channels for 2 classes"):
        sampler()(output._replace(teacher_logits=output.teacher_logits[:, :1]), label)
    with pytest.raises(ValueError, match=r"bank holds 3 classes of 5 channels.*needs 2 classes of 5"):
        PairSampler(2, 3, 5, ReferenceBank(3, 5))
    with pytest.raises(ValueError, match="Purities must be in"):
        sampler(anchor_purity=0.0)
