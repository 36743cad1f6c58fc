"""Speckle, attenuation and grey levels against theory."""

from types import SimpleNamespace

import numpy as np
import pytest

from dckd_ext.phantom.acoustics import (
    FREQUENCY,
    TGC,
    Beam,
    interfaces,
    kernel,
    log_compress,
    noise,
    scatterers,
    transmission,
)
from dckd_ext.phantom.lesions import draw_lesion
from dckd_ext.phantom.tissues import TISSUES, Label, Tissue
from dckd_ext.phantom.volume import render

ABUS = (0.2, 0.073, 0.475674)


def intensity(alpha: float, spacing=ABUS, shape=(400, 300), seed=0) -> np.ndarray:
    """Intensity of a homogeneous medium behind the point spread; alpha is that of a resolution cell."""
    beam = Beam(np.arange(shape[1]) * spacing[1], spacing)
    rng, ones = np.random.default_rng(seed), np.ones(shape)
    slices = [
        beam.in_plane(scatterers(rng, ones, ones * alpha * beam.cell)) for _ in range(2 * beam.halo + 1)
    ]
    return np.abs(beam.across(slices)) ** 2


@pytest.mark.parametrize("spacing", [ABUS, (0.3, 0.25, 0.45)])
def test_fully_developed_speckle_is_rayleigh(spacing):
    envelope = np.sqrt(intensity(np.inf, spacing))
    assert envelope.mean() / envelope.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.02)  # 1.91


def test_the_point_spread_keeps_the_mean_intensity_at_every_depth():
    power = np.mean([intensity(np.inf, seed=seed) for seed in range(4)], axis=(0, 1))
    thirds = [third.mean() for third in np.array_split(power, 3)]
    assert thirds == pytest.approx([1, 1, 1], rel=0.05)


@pytest.mark.parametrize("alpha", [0.7, 2.0, 10.0])
def test_scatterers_are_k_distributed(alpha):
    ones = np.ones((1000, 1000))
    values = np.abs(scatterers(np.random.default_rng(0), ones * 3, ones * alpha)).astype(float) ** 2
    assert values.mean() == pytest.approx(3, rel=0.02)
    assert (values**2).mean() / values.mean() ** 2 == pytest.approx(2 * (1 + 1 / alpha), rel=0.04)


@pytest.mark.parametrize("spacing", [ABUS, (0.3, 0.25, 0.45)])
def test_speckle_statistics_do_not_depend_on_the_grid(spacing):
    values = np.stack([intensity(2.0, spacing, seed=seed) for seed in range(6)])
    assert (values**2).mean() / values.mean() ** 2 == pytest.approx(2 * (1 + 1 / 2), rel=0.1)


def test_kernel_has_the_width_it_says_and_unit_energy():
    values = kernel(width=2.0, step=0.01)
    wide = np.flatnonzero(values >= values.max() / 2)
    assert len(wide) * 0.01 == pytest.approx(2.0, abs=0.02)
    assert (values**2).sum() == pytest.approx(1, rel=1e-5)


def test_attenuation_of_layers():
    """Two layers: the gain is that of the path through the first, then through the second."""
    depth = (np.arange(100) + 0.5) * 0.1  # mm
    attenuation = np.where(depth < 4, 1.3, 0.002)[None].astype(np.float32)
    path = np.minimum(depth, 4) * (1.3 - TGC) + np.maximum(depth - 4, 0) * (0.002 - TGC)
    expected = -2 * FREQUENCY * path / 10
    assert transmission(attenuation, 0.1)[0] == pytest.approx(expected, abs=1e-3)


def test_interfaces():
    layers = np.ones((60, 40), np.float32)
    layers[:, 20:] = 3
    flat = interfaces(layers, step=0.3)
    assert np.count_nonzero(flat) == 60
    weaker = interfaces(np.where(layers > 1, 1.5, 1).astype(np.float32), step=0.3)
    assert flat[30, 20] / weaker[30, 20] == pytest.approx((2 / 4) / (0.5 / 2.5))  # (Z2 - Z1) / (Z2 + Z1)
    oblique = np.where(np.arange(40) > np.arange(60)[:, None] * 0.7, 3, 1).astype(np.float32)
    assert interfaces(oblique, step=0.3)[20:40].max() < 0.5 * flat.max()


def test_noise_rises_as_the_gain():
    depth = np.array([0.0, 10.0, 20.0])
    power = 10 * np.log10((np.abs(noise(np.random.default_rng(0), (200_000, 3), depth)) ** 2).mean(0))
    assert np.diff(power) == pytest.approx([2 * FREQUENCY * TGC] * 2, abs=0.1)  # dB over 1 cm


def test_log_compression():
    decibel = np.array([10.0, 0.0, -15.0, -30.0, -60.0, -80.0])
    grey = log_compress(10 ** (decibel / 20))
    assert grey.dtype == np.uint8
    assert grey.tolist() == [255, 255, 191, 128, 0, 0]
    assert log_compress(np.zeros(1)).tolist() == [0]


def rendered(block: Tissue) -> np.ndarray:
    """Grey levels of plain gland with a block of another tissue at rows 30 to 59 of columns 40 to 79."""
    labels = np.full((120, 120), Label.GLAND, np.uint8)
    labels[40:80, 30:60] = len(TISSUES)
    spacing = np.array([0.3, 0.25, 0.45])
    layers = SimpleNamespace(
        lateral=np.arange(120) * 0.3,
        depth=(np.arange(120) + 0.5) * 0.25,
        brightness=lambda sweep: 0.0,
        coupling=SimpleNamespace(loss=lambda *_: 0.0, reverberation=lambda *_: 0.0),
    )
    tissues = [TISSUES[label] for label in Label] + [block]
    breast = SimpleNamespace(layers=layers, spacing=spacing, tissues=tissues, labels=lambda sweep: labels)
    return np.stack(list(render(breast, 0, range(6))), axis=-1).astype(float)


def difference_below(image: np.ndarray) -> float:
    """Grey levels below the block minus those beside it at the same depth."""
    return image[45:75, 65:90].mean() - image[5:35, 65:90].mean()


def test_malignant_lesions_shadow_and_cysts_enhance():
    malignant = rendered(draw_lesion(np.random.default_rng(0), "M", 0)[1])
    cyst = rendered(TISSUES[Label.CYST])
    gland = rendered(TISSUES[Label.GLAND])
    assert difference_below(malignant) < -12
    assert difference_below(cyst) > 20
    assert abs(difference_below(gland)) < 3


def test_slope_of_the_image_with_depth():
    """Homogeneous gland darkens by the grey levels that its attenuation says."""
    rows = rendered(TISSUES[Label.GLAND]).mean(axis=(0, 2))
    slope = np.polyfit((np.arange(120) + 0.5) * 0.025, rows, 1)[0]  # per cm
    excess = TISSUES[Label.GLAND].attenuation - TGC
    assert slope == pytest.approx(-2 * FREQUENCY * excess * 255 / 60, rel=0.1)
