"""Feature terms at several taps at once, against the terms of each tap by itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dckd_ext.inferers import DistillationInferer, DistillationOutput
from dckd_ext.losses import (
    CWDLoss,
    DecoupledContrastiveLoss,
    DistillationLoss,
    PairSampler,
    RankingLoss,
    ReferenceBank,
    Term,
)
from dckd_ext.networks import tap_channels
from tests.losses.batch_examples import cubes, output_for

STUDENT, TEACHER = [3, 6], [5, 4]
DEEPER = (4, 6, 4)


def output() -> DistillationOutput:
    """Two pairs of maps: at full resolution, and at half of it."""
    first = output_for(cubes())
    deeper = [torch.randn(2, channels, *DEEPER) for channels in (STUDENT[1], TEACHER[1])]
    return first._replace(
        features=[first.features, deeper[0].requires_grad_()],
        teacher_features=[first.teacher_features, deeper[1]],
    )


def of_tap(several: DistillationOutput, index: int) -> DistillationOutput:
    maps = {name: getattr(several, name)[index] for name in ("features", "teacher_features")}
    return several._replace(**maps)


def dckd(pairs: PairSampler) -> DistillationLoss:
    terms = {"contrastive": Term(DecoupledContrastiveLoss(), 0.13), "ranking": Term(RankingLoss(), 0.15)}
    return DistillationLoss(terms, pairs)


def sampler(student, teacher) -> PairSampler:
    return PairSampler(2, student, teacher, ReferenceBank(2, teacher, 64, 8))


def test_cwd_is_the_mean_of_the_losses_of_each_tap():
    several, label = output(), cubes()
    loss = DistillationLoss({"cwd": Term(CWDLoss(STUDENT, TEACHER), 0.5)})
    single = []
    for index, part in enumerate(loss.losses["cwd"].taps):
        own = CWDLoss(STUDENT[index], TEACHER[index])
        own.load_state_dict(part.state_dict())
        single.append(DistillationLoss({"cwd": Term(own, 0.5)})(of_tap(several, index), label))
    found = loss(several, label)
    torch.testing.assert_close(found, sum(single) / 2)
    found.backward()
    gradients = [features.grad.clone() for features in several.features]
    for features in several.features:
        features.grad = None
    (sum(single) / 2).backward()
    for gradient, features in zip(gradients, several.features, strict=True):
        torch.testing.assert_close(gradient, features.grad)


def test_dckd_is_the_mean_of_the_terms_of_each_tap_over_steps_that_fill_the_banks():
    torch.manual_seed(0)
    together = dckd(sampler(STUDENT, TEACHER))
    apart = [dckd(sampler(*channels)) for channels in zip(STUDENT, TEACHER, strict=True)]
    for part, own in zip(together.pairs.taps, apart, strict=True):
        own.pairs.load_state_dict(part.state_dict())
    for step in range(3):
        several, label = output(), cubes()
        several = several._replace(case_ids=several.case_ids + 10 * step)
        torch.manual_seed(step)
        found = together(several, label)
        torch.manual_seed(step)  # the samplers draw one after the other
        expected = [own.pairs(of_tap(several, index), label) for index, own in enumerate(apart)]
        for name, weight in (("contrastive", 0.13), ("ranking", 0.15)):
            values = [own.losses[name](pairs) for own, pairs in zip(apart, expected, strict=True)]
            torch.testing.assert_close(together.values[name], sum(values) / 2)
            found = found - weight * sum(values) / 2
        assert found.item() == pytest.approx(0, abs=1e-6)
    for part, own in zip(together.pairs.taps, apart, strict=True):
        for name, rows in own.pairs.bank.state_dict().items():
            assert part.bank.state_dict()[name].equal(rows)


def test_samples_without_a_label_leave_the_maps_of_all_taps():
    several, label = output(), cubes()
    label[1] = 255
    loss = DistillationLoss(
        {"cwd": Term(CWDLoss(STUDENT, TEACHER), inputs=("features", "teacher_features", "label"))}
    )
    seen = []
    loss.losses["cwd"].forward = lambda features, *rest: seen.extend(map(len, features)) or features[0].sum()
    loss(several, label)
    assert seen == [1, 1]


class Net(nn.Module):
    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv3d(1, widths[0], 3, padding=1), nn.Conv3d(widths[0], widths[1], 2, 2)
        self.up, self.head = nn.Upsample(scale_factor=2), nn.Conv3d(widths[1], 2, 1)

    def forward(self, image):
        return self.head(self.up(self.coarse(self.fine(image))))


def test_maps_of_several_taps_come_from_one_run():
    networks = {"student": Net(STUDENT), "teacher": Net(TEACHER)}
    names, image = ["fine", "coarse"], torch.rand(2, 1, 8, 12, 8)
    assert tap_channels(networks["teacher"], names, 1, (8, 12, 8)) == TEACHER
    found = DistillationInferer(networks["teacher"], names, names)(image, networks["student"])
    for index, name in enumerate(names):
        alone = DistillationInferer(networks["teacher"], name, name)(image, networks["student"])
        torch.testing.assert_close(found.features[index], alone.features)
        torch.testing.assert_close(found.teacher_features[index], alone.teacher_features)


@pytest.mark.parametrize("teacher", [5, [5], [5, 4, 3]])
def test_unpaired_taps_are_refused(teacher):
    text = "must name equally many maps, found maps of "
    with pytest.raises(ValueError, match=text):
        CWDLoss(STUDENT, teacher)
    with pytest.raises(ValueError, match=text):
        PairSampler(2, STUDENT, teacher)
    with pytest.raises(ValueError, match=r"must name equally many maps, found \['a', 'b'\] and "):
        DistillationInferer(
            Net(TEACHER), ["a", "b"], "a" if isinstance(teacher, int) else ["a"] * len(teacher)
        )
