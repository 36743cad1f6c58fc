"""A synthetic ABUS volume with its lesion mask."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dckd_ext.phantom.acoustics import Beam, interfaces, log_compress, noise, scatterers, transmission
from dckd_ext.phantom.breast import Breast
from dckd_ext.phantom.checks import are_numbers, expect, is_whole

__all__ = ["Lesion", "Phantom", "Settings", "draw_breast", "find_lesions", "make_phantom", "render"]

_ANATOMY, _SPECKLE, _NOISE = range(3)  # streams of random numbers
_SMALLEST = 16  # voxels


@dataclass(frozen=True)
class Lesion:
    """One lesion of a phantom.

    Attributes:
        kind: "M" malignant or "B" benign.
        centre: of its bounding box, in voxels: the middle between its first and its last index.
        size: edges of its bounding box, in voxels.
        ml: volume of its voxels.
    """

    kind: str
    centre: tuple[float, ...]
    size: tuple[int, ...]
    ml: float


@dataclass(frozen=True)
class Phantom:
    """A synthetic volume: uint8 arrays along (lateral, depth, sweep), spacing in mm, and the lesions."""

    image: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, ...]
    lesions: list[Lesion]


@dataclass(frozen=True)
class Settings:
    """What a phantom is made of, beside its seed; see `make_phantom`.

    Raises:
        ValueError: for values out of range.
    """

    shape: Sequence[int] = (128, 128, 96)
    spacing: Sequence[float] = (0.3, 0.25, 0.45)
    lesions: int | None = 1
    lesion_ml: Sequence[float] = (0.1, 9.0)
    malignant: float = 0.58

    def __post_init__(self) -> None:
        size = f"shape: expected three edges of at least {_SMALLEST} voxels, found {self.shape}"
        expect(are_numbers(self.shape, 3) and all(is_whole(edge, _SMALLEST) for edge in self.shape), size)
        step = f"spacing: expected three positive numbers in mm, found {self.spacing}"
        expect(are_numbers(self.spacing, 3) and min(self.spacing) > 0, step)
        count = f"lesions: expected 0 or more, found {self.lesions}"
        expect(self.lesions is None or is_whole(self.lesions, 0), count)
        ml = f"lesion_ml: expected a range LOW,HIGH above 0, found {self.lesion_ml}"
        expect(are_numbers(self.lesion_ml, 2) and 0 < self.lesion_ml[0] <= self.lesion_ml[1], ml)
        share = f"malignant: expected a share from 0 to 1, found {self.malignant}"
        expect(are_numbers([self.malignant], 1) and 0 <= self.malignant <= 1, share)
        # The same values in the same words, whatever they were given as.
        object.__setattr__(self, "shape", tuple(map(int, self.shape)))
        for name in ("spacing", "lesion_ml"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))


def make_phantom(
    seed: int,
    shape: Sequence[int] = Settings.shape,
    spacing: Sequence[float] = Settings.spacing,
    lesions: int | None = Settings.lesions,
    lesion_ml: Sequence[float] = Settings.lesion_ml,
    malignant: float = Settings.malignant,
) -> Phantom:
    """Make a synthetic ABUS volume, for trying things out: it is no evidence of anything clinical.

    The volume begins at the probe and shows the breast down to the chest wall; that is 32 mm deep at the
    default shape and spacing. Fewer mm hold the same layers, but smaller; more hold a thicker gland. The same
    arguments give the same bytes (with the same numpy and scipy on the same kind of processor). The default
    shape takes about a second, 865 x 682 x 354 over a minute; the memory needed is that of image and mask and
    a few slices. A convolution model (our choice of its parameters), see the modules beside this one.

    Args:
        seed: 0 or more.
        shape: voxels along (lateral, depth, sweep), 16 or more.
        spacing: mm; the true one of ABUS volumes is 0.2, 0.073, 0.475674.
        lesions: how many, 0 for none; None draws one to three.
        lesion_ml: range of their volumes in ml, drawn evenly on a logarithmic scale. What does not fit in
            between skin and muscle (at the default shape often 2 ml, benign 4 ml) is scaled down.
        malignant: share of malignant ones; the default is that of the open ABUS set's training part.

    Raises:
        ValueError: for arguments out of range, or lesions that do not all fit in.

    Examples:
        >>> phantom = make_phantom(seed=1, shape=(48, 48, 32), spacing=(0.8, 0.67, 1.35))
        >>> phantom.image.shape, phantom.image.dtype, len(phantom.lesions)
        ((48, 48, 32), dtype('uint8'), 1)
    """
    settings = Settings(shape, spacing, lesions, lesion_ml, malignant)
    breast = draw_breast(seed, settings)
    image = np.empty(settings.shape, np.uint8, order="F")  # a sweep slice lies together
    for sweep, plane in enumerate(render(breast, seed, range(settings.shape[2]))):
        image[..., sweep] = plane
    mask = np.zeros(settings.shape, np.uint8, order="F")
    for voxels in breast.lesion_voxels():
        mask[tuple(voxels.T)] = 1
    return Phantom(image, mask, tuple(settings.spacing), find_lesions(breast))


def draw_breast(seed: int, settings: Settings) -> Breast:
    """Draw the anatomy of the phantom with this seed.

    Raises:
        ValueError: when the lesions do not all fit in, or the seed is negative.
    """
    expect(is_whole(seed, 0), f"seed: expected 0 or more, found {seed}")
    rng = _generator(seed, _ANATOMY)
    count = int(rng.integers(1, 4)) if settings.lesions is None else settings.lesions
    kinds = ["M" if chance < settings.malignant else "B" for chance in rng.random(count)]
    return Breast(rng, settings.shape, settings.spacing, kinds, settings.lesion_ml)


def find_lesions(breast: Breast) -> list[Lesion]:
    """Find kind, bounding box and volume of each lesion, without making the image."""
    lesions = []
    for kind, voxels in zip(breast.kinds, breast.lesion_voxels(), strict=True):
        low, high = voxels.min(0), voxels.max(0)
        centre, size = ((low + high) / 2).tolist(), (high - low + 1).tolist()
        lesions.append(
            Lesion(kind, tuple(centre), tuple(size), float(len(voxels) * breast.spacing.prod() / 1000))
        )
    return lesions


def render(breast: Breast, seed: int, sweeps: range) -> Iterator[np.ndarray]:
    """Yield grey levels, uint8 (X, Y), of consecutive sweep slices, in the memory of a few slices.

    The random numbers of a slice depend on seed and slice alone, so any part of a volume is rendered the same
    as within the whole.
    """
    depth = breast.layers.depth
    beam = Beam(depth, breast.spacing.tolist())
    blurred: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=2 * beam.halo + 1)
    for ahead in range(sweeps.start - beam.halo, sweeps.stop + beam.halo):
        blurred.append(beam.in_plane(_echoes(breast, beam.cell, seed, ahead)))
        if len(blurred) == blurred.maxlen:
            echo = beam.across(blurred)
            echo += noise(_generator(seed, _NOISE, ahead - beam.halo), echo.shape, depth)
            yield log_compress(np.abs(echo))


def _echoes(breast: Breast, cell: float, seed: int, sweep: int) -> np.ndarray:
    """Compute what a slice sends back, before the point spread: complex64 (X, Y)."""
    layers, (lateral_step, depth_step, sweep_step) = breast.layers, breast.spacing
    position = (sweep + 0.5) * sweep_step
    tissues = np.array(breast.tissues, np.float32)[breast.labels(sweep)]
    power, attenuation, impedance, alpha = (tissues[..., column] for column in range(4))
    power = 10 ** ((power + layers.brightness(position)) / 10)
    echoes = scatterers(_generator(seed, _SPECKLE, sweep), power, alpha * np.float32(cell))
    echoes += interfaces(impedance, lateral_step)
    gain = transmission(attenuation, depth_step) - layers.coupling.loss(layers.lateral, position)
    echoes *= (10 ** (gain / 20)).astype(np.float32)
    return echoes + layers.coupling.reverberation(layers.lateral, position)


def _generator(seed: int, stream: int, sweep: int = 0) -> np.random.Generator:
    # The slices before the first one, which the point spread needs, would have negative keys.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, sweep + 1000)))
