from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss
from torch import nn

from dckd_ext.losses import (
    DecoupledContrastiveLoss,
    DistillationLoss,
    LogitsDistillationLoss,
    RankingLoss,
    Term,
)
from dckd_ext.losses.unlabelled import confident_classes
from dckd_ext.utils.labels import UNLABELLED
from tests.losses.batch_examples import cubes, output_for, sampler

SEGMENTATION = DiceCELoss(to_onehot_y=True, softmax=True)


class Recorder(nn.Module):
    def forward(self, *inputs):
        self.inputs = inputs
        return inputs[0].sum()


def half_labelled():
    label = cubes(2)
    output = output_for(label)
    label[1] = UNLABELLED
    return output, label


def test_terms_of_the_label_see_the_labelled_samples_alone():
    output, label = half_labelled()
    both = DistillationLoss({"segmentation": Term(SEGMENTATION), "kd": Term(LogitsDistillationLoss())})
    both(output, label)
    assert float(both.values["segmentation"]) == pytest.approx(
        float(SEGMENTATION(output.logits[:1], label[:1]))
    )
    assert float(both.values["kd"]) == pytest.approx(
        float(LogitsDistillationLoss()(output.logits, output.teacher_logits))
    )


def test_a_batch_without_any_label_leaves_these_terms_out_and_still_trains():
    output, label = half_labelled()
    label[:] = UNLABELLED
    logits = output.logits.requires_grad_()
    loss = DistillationLoss({"segmentation": Term(SEGMENTATION), "kd": Term(LogitsDistillationLoss())})
    loss(output, label).backward()
    assert list(loss.values) == ["kd", "total"]
    assert logits.grad.abs().sum() > 0
    only_labels = DistillationLoss({"segmentation": Term(SEGMENTATION)})
    total = only_labels(output, label)
    assert float(total) == 0
    assert total.requires_grad


def test_confident_classes_by_hand():
    label = torch.tensor([0.0, 1, 0, 1]).view(2, 1, 2, 1, 1)
    label[1] = UNLABELLED
    probabilities = torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[0.95, 0.3], [0.05, 0.7]]]).view(2, 2, 2, 1, 1)
    found = confident_classes(label, probabilities.log(), 0.9)
    assert found.flatten().tolist() == [0, 1, 0, UNLABELLED]
    assert confident_classes(label, probabilities.log(), 0.0).flatten().tolist() == [0, 1, 0, 1]


def test_without_labels_pairs_follow_a_sure_teacher_as_they_follow_the_truth():
    """The teacher of the example is right and sure everywhere, so its classes are the labels."""
    output, label = half_labelled()
    terms = {"dcl": Term(DecoupledContrastiveLoss()), "ranking": Term(RankingLoss())}
    totals = []
    for given in (cubes(2), label, torch.full_like(label, UNLABELLED)):
        torch.manual_seed(0)
        loss = DistillationLoss(terms, pairs=sampler())
        totals.append(float(loss(output, given)))
    assert totals[0] > 0
    assert totals[1:] == [totals[0]] * 2


def test_unsure_voxels_give_no_pairs():
    output, label = half_labelled()
    label[:] = UNLABELLED
    unsure = output._replace(teacher_logits=output.teacher_logits * 0.01)
    loss = DistillationLoss({"dcl": Term(DecoupledContrastiveLoss())}, pairs=sampler())
    assert float(loss(unsure, label)) == 0


def test_hard_pseudo_labels_are_a_term_on_classes():
    output, label = half_labelled()
    recorder = Recorder()
    DistillationLoss({"pseudo": Term(recorder, inputs=("logits", "classes"))}, min_confidence=0.0)(
        output, label
    )
    assert torch.equal(recorder.inputs[1], cubes(2))


@pytest.mark.parametrize("confidence", [-0.1, 1.1])
def test_a_confidence_is_a_probability(confidence):
    with pytest.raises(ValueError, match=r"min_confidence must be in \[0, 1\]"):
        DistillationLoss({"kd": Term(LogitsDistillationLoss())}, min_confidence=confidence)
