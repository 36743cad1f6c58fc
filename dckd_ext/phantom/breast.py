"""A breast with lesions: the layers, and the bodies placed in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dckd_ext.phantom.anatomy import Layers
from dckd_ext.phantom.lesions import draw_cyst, draw_fat_lobule, draw_lesion
from dckd_ext.phantom.shapes import Body
from dckd_ext.phantom.tissues import TISSUES, Label

__all__ = ["Breast"]

_TRIES = 400
_FLATTEST = 0.7  # factor on the depth of a lesion that needs more room
_LOBULES, _CYSTS = 0.35, 0.08  # in the mean, for each cm2 of skin
Window = tuple[slice, slice]


class Breast:
    """Layers, lesions, and harmless bodies that resemble lesions (fat lobules, cysts), slice by slice.

    Args:
        rng: source of all that is random.
        shape: voxels along (lateral, depth, sweep).
        spacing: mm.
        kinds: "M" or "B" for each lesion.
        lesion_ml: range of the lesions' volumes in ml, drawn evenly on a logarithmic scale. What does not fit
            in between skin and muscle is made flatter first; what is still too large, exceeds four fifths of
            the width, or does not fit in beside the others, is scaled down.

    Raises:
        ValueError: when there is no room for a lesion beside the others.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: Sequence[int],
        spacing: Sequence[float],
        kinds: Sequence[str],
        lesion_ml: Sequence[float],
    ) -> None:
        self.layers = Layers(rng, shape, spacing)
        self.tissues = [TISSUES[label] for label in Label]
        self.lesions: list[Body] = []
        self.kinds, self.spacing, self._slices = list(kinds), np.array(spacing), shape[2]
        for number, kind in enumerate(kinds, start=1):
            body, tissue = draw_lesion(rng, kind, len(self.tissues))
            body = self._fitted(body, np.exp(rng.uniform(*np.log(lesion_ml))))
            self.lesions.append(self._placed(rng, body, lesion_ml[0], f"{number} of {len(kinds)}"))
            self.tissues.append(tissue)
        scale = self.layers.scale
        area = self.layers.extent[0] * self.layers.extent[2] / 100 / scale**2
        likes = [draw_fat_lobule(rng) for _ in range(rng.poisson(_LOBULES * area))]
        likes += [draw_cyst(rng) for _ in range(rng.poisson(_CYSTS * area))]
        found = (self._find_place(rng, body.scaled(scale), inside=False) for body in likes)
        self._look_alikes = [body for body in found if body is not None]

    def labels(self, sweep: int) -> np.ndarray:
        """Return the tissue map of a sweep slice by number (one outside the volume as well): uint8 (X, Y)."""
        position = (sweep + 0.5) * self.spacing[2]
        around = np.zeros((len(self.layers.lateral), len(self.layers.depth)))
        for body in self.lesions:
            for window, level in self._levels(body, position, body.reach * 1.8):
                around[window] += 3 * np.exp(-((level / 1.7) ** 4))
        labels = self.layers.labels(position, around)
        wall = self.layers.depth > self.layers.chest(self.layers.lateral, position)[:, None]
        for body in (*self._look_alikes, *self.lesions):
            rim, thickness = body.rim
            for window, level in self._levels(body, position, body.reach + 2 * thickness):
                edge = 1 + thickness / body.axes.prod() ** (1 / 3)
                labels[window][(level >= 1) & (level < edge) & ~wall[window]] = rim
                labels[window][(level < 1) & ~wall[window]] = body.label
        self.layers.paint_skin(labels, position)
        return labels

    def lesion_voxels(self) -> Iterator[np.ndarray]:
        """Return for each lesion the indices of its voxels (N, 3)."""
        for body in self.lesions:
            found = [np.zeros((0, 3), int)]
            for sweep in range(self._slices):
                for window, level in self._levels(body, (sweep + 0.5) * self.spacing[2], body.reach):
                    inside = np.argwhere(level < 1)
                    inside += [edge.start for edge in window]
                    found.append(np.insert(inside, 2, sweep, axis=1))
            yield np.concatenate(found)

    def _levels(self, body: Body, position: float, half: np.ndarray) -> Iterator[tuple[Window, np.ndarray]]:
        """Yield the level of a body in its box (half edges in mm) in a slice, if it is there."""
        if abs(position - body.centre[2]) > half[2]:
            return
        low = np.floor((body.centre - half) / self.spacing).astype(int).clip(0)
        high = np.ceil((body.centre + half) / self.spacing).astype(int).clip(0)
        window = slice(low[0], high[0]), slice(low[1], high[1])
        lateral, depth = self.layers.lateral[window[0]], self.layers.depth[window[1]]
        yield window, body.level(lateral, depth, position)

    def _fitted(self, body: Body, ml: float) -> Body:
        top, bottom = self.layers.lesion_depths
        room = np.array([0.8 * self.layers.extent[0], bottom - top, 0.8 * self.layers.extent[2]]) / 2
        body = body.scaled((ml / body.volume) ** (1 / 3))
        flat = float(np.clip(room[1] / body.reach[1], _FLATTEST, 1))
        body = replace(body, axes=body.axes * [flat**-0.5, flat, flat**-0.5])
        return body.scaled(min(1.0, float((room / body.reach).min())))

    def _placed(self, rng: np.random.Generator, body: Body, smallest: float, which: str) -> Body:
        while True:
            placed = self._find_place(rng, body, inside=True)
            if placed is not None:
                return placed
            body = body.scaled(0.85)
            if body.volume < smallest:
                size = " x ".join(f"{edge:.0f}" for edge in self.layers.extent)
                raise ValueError(
                    f"no room for lesion {which} in a volume of {size} mm: expected fewer lesions, "
                    "a smaller lesion_ml, or a larger volume"
                )

    def _find_place(self, rng: np.random.Generator, body: Body, inside: bool) -> Body | None:
        """Place a body clear of the lesions, and if ``inside`` whole in the volume and at best in contact."""
        fallback = None
        top, bottom = self.layers.lesion_depths
        margin = body.reach if inside else np.minimum(body.reach, [0, np.inf, 0])
        low, high = margin.copy(), self.layers.extent - margin
        low[1], high[1] = top + margin[1], bottom - margin[1]
        for _ in range(_TRIES):
            placed = body.at(rng.uniform(low, np.maximum(low, high)))
            if any(_overlap(placed, other) for other in self.lesions):
                continue
            if not inside or self._in_contact(placed):
                return placed
            fallback = fallback or placed
        return fallback

    def _in_contact(self, body: Body) -> bool:
        near = np.linspace(-1, 1, 5)
        lateral, sweeps = (body.centre[axis] + near * body.reach[axis] for axis in (0, 2))
        return all(self.layers.coupling.is_clear(lateral, sweep) for sweep in sweeps)


def _overlap(one: Body, other: Body) -> bool:
    apart = np.abs(one.centre - other.centre) - 1.1 * (one.reach + other.reach)
    return bool((apart < 0).all())
