import numpy as np
import pytest
from scipy import ndimage

from dckd_ext.phantom import make_phantom
from dckd_ext.phantom.tissues import Label
from dckd_ext.phantom.volume import Settings, draw_breast, find_lesions, render

SMALL = {"shape": (48, 48, 32), "spacing": (0.8, 0.67, 1.35)}


@pytest.fixture(scope="module")
def phantoms():
    return [make_phantom(seed) for seed in range(6)]


def test_arrays_and_records(phantoms):
    for phantom in phantoms:
        assert phantom.image.shape == phantom.mask.shape == (128, 128, 96)
        assert phantom.image.dtype == phantom.mask.dtype == np.uint8
        (lesion,) = phantom.lesions
        voxels = np.argwhere(phantom.mask)
        assert set(np.unique(phantom.mask)) == {0, 1}
        assert lesion.ml == pytest.approx(len(voxels) * np.prod(phantom.spacing) / 1000)
        assert 0.08 < lesion.ml < 9.5
        low, high = voxels.min(0), voxels.max(0)
        assert lesion.size == tuple(high - low + 1)
        assert lesion.centre == tuple((high + low) / 2)
        assert low.min() > 0
        assert (high < np.array(phantom.mask.shape) - 1).all()
        assert ndimage.label(phantom.mask, np.ones((3, 3, 3)))[1] == 1


def test_grey_levels_are_near_those_of_a_real_slice(phantoms):
    grey = np.stack([phantom.image for phantom in phantoms])
    assert grey.mean() == pytest.approx(43, abs=6)
    assert np.median(grey) == pytest.approx(35, abs=9)
    assert np.percentile(grey, 95) == pytest.approx(123, abs=12)
    assert (grey <= 10).mean() == pytest.approx(1 / 3, abs=0.1)


def test_lesions_are_darker_than_what_surrounds_them(phantoms):
    for phantom in phantoms:
        inside = phantom.mask > 0
        around = ndimage.binary_dilation(inside, iterations=6) & ~ndimage.binary_dilation(
            inside, iterations=2
        )
        assert phantom.image[inside].mean() < phantom.image[around].mean() - 20


def test_lesions_are_not_the_only_dark_things(phantoms):
    for phantom in phantoms:
        inside = phantom.mask > 0
        dark = ndimage.gaussian_filter(phantom.image.astype(np.float32), 1.5)
        assert (dark[~inside] < np.median(dark[inside])).sum() > inside.sum()


def largest_component_dice(mask: np.ndarray, truth: np.ndarray) -> float:
    parts, count = ndimage.label(mask)
    if not count:
        return 0.0
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return 2 * (largest & truth).sum() / (largest.sum() + truth.sum())


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0, 2])
def test_no_threshold_finds_the_lesions(phantoms, sigma):
    """The best grey threshold of either direction, and its largest component."""
    found: dict[tuple[int, int], list[float]] = {}
    for phantom in phantoms:
        image = ndimage.gaussian_filter(phantom.image.astype(np.float32), sigma)
        for level in range(5, 150, 8):
            for sign in (1, -1):
                dice = largest_component_dice(sign * image < sign * level, phantom.mask > 0)
                found.setdefault((level, sign), []).append(dice)
    assert max(map(np.mean, found.values())) < 0.3


def test_the_same_seed_gives_the_same_bytes():
    one, other, third = (make_phantom(seed, **SMALL) for seed in (5, 5, 6))
    assert one.image.tobytes() == other.image.tobytes()
    assert one.mask.tobytes() == other.mask.tobytes()
    assert one.lesions == other.lesions
    assert one.image.tobytes() != third.image.tobytes()


@pytest.mark.parametrize("step", [1, 5, 32])
def test_slices_do_not_depend_on_the_part_that_is_rendered(step):
    whole = make_phantom(3, **SMALL).image
    breast = draw_breast(3, Settings(**SMALL))
    for start in range(0, 32, step):
        part = list(render(breast, 3, range(start, min(start + step, 32))))
        np.testing.assert_array_equal(np.stack(part, axis=-1), whole[..., start : start + step])


def test_no_lesion():
    phantom = make_phantom(0, **SMALL, lesions=0)
    assert phantom.lesions == []
    assert not phantom.mask.any()
    assert phantom.image.any()


def test_several_lesions_of_one_kind():
    phantom = make_phantom(0, **SMALL, lesions=3, lesion_ml=(0.2, 0.5), malignant=1)
    assert [lesion.kind for lesion in phantom.lesions] == ["M"] * 3
    assert ndimage.label(phantom.mask)[1] >= 3
    assert sum(lesion.ml for lesion in phantom.lesions) == pytest.approx(
        phantom.mask.sum() * np.prod(phantom.spacing) / 1000
    )
    counts = {len(make_phantom(seed, **SMALL, lesions=None).lesions) for seed in range(8)}
    assert counts == {1, 2, 3}


@pytest.mark.parametrize("kind", ["M", "B"])
def test_lesions_have_the_volume_asked_for(kind):
    for seed in range(6):
        breast = draw_breast(seed, Settings(lesion_ml=(0.6, 0.6), malignant=kind == "M"))
        assert find_lesions(breast)[0].ml == pytest.approx(0.6, rel=0.06)


def test_a_lesion_that_does_not_fit_is_made_smaller():
    phantom = make_phantom(0, **SMALL, lesion_ml=(80, 80))
    assert 0.5 < phantom.lesions[0].ml < 20


def test_a_shallow_volume_shows_all_layers():
    """What a small volume at the true spacing shows."""
    settings = Settings((64, 64, 24), (0.2, 0.073, 0.475674))
    breast = draw_breast(1, settings)
    seen = set(np.unique([breast.labels(sweep) for sweep in range(24)]))
    assert {Label.SKIN, Label.FAT, Label.LIGAMENT, Label.GLAND, Label.MUSCLE} <= seen
    assert make_phantom(1, settings.shape, settings.spacing).mask.any()


def test_layers_follow_in_order():
    breast = draw_breast(2, Settings(lesions=0))
    labels = np.stack([breast.labels(sweep) for sweep in range(0, 96, 8)])
    depths = [
        np.nonzero(labels == tissue)[2].mean()
        for tissue in (Label.SKIN, Label.GLAND, Label.MUSCLE, Label.RIB)
    ]
    assert depths == sorted(depths)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed: expected 0 or more, found -1"),
        ({"shape": (64, 64)}, r"shape: expected three edges .* found \(64, 64\)"),
        ({"shape": (64, 8, 64)}, "at least 16 voxels"),
        (
            {"spacing": (0.3, 0, 0.4)},
            r"spacing: expected three positive numbers in mm, found \(0.3, 0, 0.4\)",
        ),
        ({"spacing": (0.3, float("nan"), 0.4)}, "spacing"),
        ({"lesions": -1}, "lesions: expected 0 or more, found -1"),
        ({"lesion_ml": (2, 1)}, r"lesion_ml: expected a range LOW,HIGH above 0, found \(2, 1\)"),
        ({"lesion_ml": (0, 1)}, "lesion_ml"),
        ({"malignant": 1.5}, "malignant: expected a share from 0 to 1, found 1.5"),
        ({"lesions": 60, "lesion_ml": (2, 2)}, r"no room for lesion \d+ of 60 .*smaller lesion_ml"),
    ],
)
def test_bad_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_phantom(**{"seed": 0, **SMALL, **wrong})
