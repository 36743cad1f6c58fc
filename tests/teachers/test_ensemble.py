from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from dckd_ext.networks import Tap, Teacher, tap_channels
from dckd_ext.teachers import Ensemble


def teachers(count: int = 3) -> list[Teacher]:
    torch.manual_seed(0)
    return [Teacher(nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 3, 1))) for _ in range(count)]


IMAGE = torch.rand(2, 1, 6, 5, 4, generator=torch.Generator().manual_seed(1))


def test_probabilities_are_the_mean():
    members = teachers()
    expected = sum(member(IMAGE).softmax(1) for member in members) / 3
    torch.testing.assert_close(Ensemble(members)(IMAGE).softmax(1), expected)
    torch.testing.assert_close(Ensemble(members)(IMAGE).exp(), expected)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_mirrored_answers_are_turned_back_and_averaged(axes):
    (member,) = teachers(1)
    answers = []
    for size in range(len(axes) + 1):
        for chosen in itertools.combinations(axes, size):
            flipped = [axis + 2 for axis in chosen]
            answers.append(member(IMAGE.flip(flipped)).softmax(1).flip(flipped))
    assert len(answers) == 2 ** len(axes)
    found = Ensemble([member], axes)(IMAGE).softmax(1)
    torch.testing.assert_close(found, torch.stack(answers).mean(0))


def test_a_tap_records_one_member_after_the_other_unmirrored():
    members = teachers()
    ensemble = Ensemble(members, (0, 2))
    for turn in (0, 1, 2, 0):
        with Tap(ensemble, "0") as tap:
            ensemble(IMAGE)
        torch.testing.assert_close(tap.output, members[turn].network[0](IMAGE))
    assert tap_channels(ensemble, "0", 1, (6, 5, 4)) == 4


def test_is_frozen_and_in_eval_mode():
    ensemble = Ensemble(teachers()).train()
    assert not ensemble.training
    assert not any(parameter.requires_grad for parameter in ensemble.parameters())


@pytest.mark.parametrize(
    ("members", "axes", "text"),
    [
        (0, (), "at least one teacher"),
        (1, (3,), r"among 0, 1 and 2, found \[3\]"),
        (1, (-1,), r"found \[-1\]"),
    ],
)
def test_refuses(members, axes, text):
    with pytest.raises(ValueError, match=text):
        Ensemble(teachers(members), axes)
