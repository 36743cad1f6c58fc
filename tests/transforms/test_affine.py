from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import RandAffined

from dckd_ext.transforms import RandAffineMapsd

KEYS = ["image", "label", "teacher_logits", "teacher_features"]
MODES = ["bilinear", "nearest", "bilinear", "bilinear"]
CHANNELS = [1, 1, 3, 16]


def case(size: tuple[int, int, int]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    volumes = [torch.rand(channels, *size, generator=generator) for channels in CHANNELS]
    volumes[1] = (3 * volumes[1]).long().float()
    return dict(zip(KEYS, [*volumes[:2], volumes[2].half(), MetaTensor(volumes[3].half())], strict=True))


@pytest.mark.parametrize("size", [(9, 8, 7), (32, 20, 11), (5, 1, 6), (2, 2, 2)])
@pytest.mark.parametrize("shear", [0.0, 0.3])
def test_it_gives_what_monai_gives(size, shear):
    options = {
        "keys": KEYS,
        "prob": 0.9,
        "rotate_range": [0.4] * 3,
        "scale_range": [0.3] * 3,
        "translate_range": [3] * 3,  # beyond the border
        "shear_range": [shear] * 3,
        "mode": MODES,
        "padding_mode": "border",
    }
    ours, theirs = (kind(**options).set_random_state(0) for kind in (RandAffineMapsd, RandAffined))
    for _ in range(5):
        found, expected = ours(case(size)), theirs(case(size))
        for key in KEYS:
            assert type(found[key]) is type(expected[key])
            assert found[key].dtype == expected[key].dtype
            if key in KEYS[:2]:  # MONAI's own, to the bit: plain trainings stay as they were
                assert found[key].equal(expected[key])
            torch.testing.assert_close(found[key], expected[key], atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    "options", [{"padding_mode": "zeros"}, {"mode": "nearest"}, {"padding_mode": "reflection"}]
)
def test_other_modes_are_left_to_monai(options):
    options = {
        "keys": ["teacher_features"],
        "prob": 1.0,
        "rotate_range": [0.4] * 3,
        "padding_mode": "border",
        **options,
    }
    ours, theirs = (kind(**options).set_random_state(0) for kind in (RandAffineMapsd, RandAffined))
    name = "teacher_features"
    assert ours(case((9, 8, 7)))[name].equal(theirs(case((9, 8, 7)))[name])
