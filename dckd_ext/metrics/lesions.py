"""Lesions of one case: which are found, how well, and what is predicted where there is none.

Rules (our decision). Lesions and predicted components are connected over faces, edges and corners. A
component hits the lesions that it shares voxels with if at least a tenth of its own voxels lie in lesions;
else it is a false positive, so that a prediction of nearly everything finds nothing. A lesion is found when
components that hit it cover at least a tenth of its voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import find_objects
from scipy.ndimage import label as number_components

from dckd_ext.metrics.scores import Box, bounding_box

__all__ = ["CaseLesions", "Component", "Lesion", "connected_components", "score_lesions"]

_NEIGHBOURS = np.ones((3, 3, 3), bool)
_LEVELS = 256  # of a probability kept in eight bits


class Lesion(NamedTuple):
    """A connected component of the true mask.

    Args:
        number: from 1 on, in the order of the volume.
        voxels: its size.
        ml: its volume.
        covered: the share of its voxels that components cover which hit it.
        found: whether that share is large enough.
        dice: of the lesion and all predicted components that hit it, taken together: a prediction in pieces
            is not punished; a component that spans two lesions counts for each as a whole.
        score: the highest score of the candidates that find it, 0 if none does; NaN without probabilities.
    """

    number: int
    voxels: int
    ml: float
    covered: float
    found: bool
    dice: float
    score: float


class Component(NamedTuple):
    """A connected component of a predicted mask or of the probabilities above a threshold.

    Args:
        number: from 1 on, in the order of the volume.
        voxels: its size.
        ml: its volume.
        hits: numbers of the lesions that it hits.
        found: numbers of those of which it covers enough by itself.
        score: its highest probability; NaN for components of a mask.
    """

    number: int
    voxels: int
    ml: float
    hits: tuple[int, ...]
    found: tuple[int, ...]
    score: float

    @property
    def false_positive(self) -> bool:
        """It hits no lesion."""
        return not self.hits


class CaseLesions(NamedTuple):
    """The true lesions, the components of the predicted mask, and the candidates.

    Without probabilities there are no candidates.
    """

    lesions: list[Lesion]
    components: list[Component]
    candidates: list[Component]


def score_lesions(
    prediction: np.ndarray,
    label: np.ndarray,
    spacing: Sequence[float],
    probability: np.ndarray | None = None,
    candidate_threshold: float = 0.1,
    min_overlap: float = 0.1,
) -> CaseLesions:
    """Match the lesions of a case with what is predicted. All arrays have the shape ``(H, W, D)``.

    Memory beside the arrays themselves: 3 bytes a voxel within the boxes around what is predicted (more than
    65535 components need 8).

    Args:
        prediction: predicted classes; all above 0 are lesion.
        label: true classes; all above 0 are lesion.
        spacing: voxel edges in mm.
        probability: of the foreground, uint8, in steps of 1/256, as
            `dckd_ext.transforms.ForegroundProbabilityd` makes it. Its connected components at or above
            ``candidate_threshold`` are the candidates.
        candidate_threshold: in (0, 1), rounded up to the next step.
        min_overlap: the share of a lesion that has to be covered for it to be found, and the share of a
            component that has to lie in lesions for it to hit.

    Raises:
        ValueError: when shapes differ, or the probabilities are not uint8.

    Examples:
        >>> label = np.zeros((8, 8, 8), np.uint8)
        >>> label[1:3, 1:3, 1:3] = 1
        >>> prediction = np.roll(label, 1, axis=0)
        >>> prediction[6, 6, 6] = 1
        >>> case = score_lesions(prediction, label, (1, 1, 1))
        >>> case.lesions[0].found, case.lesions[0].covered, [one.false_positive for one in case.components]
        (True, 0.5, [False, True])
    """
    for name, array in (("label", label), ("probability", probability)):
        if array is not None and array.shape != prediction.shape:
            raise ValueError(f"{name} has shape {array.shape}, expected the prediction's {prediction.shape}")
    voxel_ml = float(np.prod(spacing)) / 1000
    truths = _truths(label > 0)
    mask = _Match.of(prediction > 0, truths, min_overlap)
    candidates = (
        None if probability is None else _candidates(probability, candidate_threshold, truths, min_overlap)
    )
    return CaseLesions(
        [
            _lesion(number, truth, mask, candidates, voxel_ml, min_overlap)
            for number, truth in enumerate(truths, 1)
        ],
        _components(mask, truths, voxel_ml, min_overlap),
        [] if candidates is None else _components(candidates, truths, voxel_ml, min_overlap),
    )


def connected_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Label the 26-connected components of a boolean mask with numbers.

    Returns:
        uint16 array of the mask's shape (int32 when there are more than 65535 components), 0 outside, and the
        number of components. Pages outside the mask's box are never hits and take no memory.
    """
    try:
        return _numbered(mask, np.uint16)
    except RuntimeError:  # the type cannot tell so many apart
        pass
    return _numbered(mask, np.int32)  # out here, since the error holds on to the arrays of the first attempt


def _numbered(mask: np.ndarray, dtype: type) -> tuple[np.ndarray, int]:
    numbers: np.ndarray = np.zeros(mask.shape, dtype)
    box = bounding_box(mask)
    return numbers, 0 if box is None else int(number_components(mask[box], _NEIGHBOURS, output=numbers[box]))


class _Truth(NamedTuple):
    """A lesion as the box around it and its mask within."""

    box: Box
    mask: np.ndarray
    voxels: int


def _truths(mask: np.ndarray) -> list[_Truth]:
    numbers, _ = connected_components(mask)
    truths = []
    for number, box in enumerate(find_objects(numbers), 1):
        inside = numbers[box] == number
        truths.append(_Truth(box, inside, int(np.count_nonzero(inside))))
    return truths


@dataclass(frozen=True)
class _Match:
    """Components and what they share with the lesions; all that is needed once the volume is gone.

    Args:
        voxels: of each component; entry 0 is unused.
        peaks: the highest value in each component.
        shared: for each lesion, the voxels that it shares with each component that hits it.
    """

    voxels: np.ndarray
    peaks: np.ndarray
    shared: list[dict[int, int]]

    @classmethod
    def of(
        cls,
        mask: np.ndarray,
        truths: Sequence[_Truth],
        min_overlap: float,
        values: np.ndarray | None = None,
    ) -> _Match:
        numbers, count = connected_components(mask)
        shared = []
        for truth in truths:
            inside = numbers[truth.box][truth.mask]
            found, voxels = np.unique(inside[inside > 0], return_counts=True)
            shared.append(dict(zip(found.tolist(), voxels.tolist(), strict=True)))
        voxels, peaks = _sizes_and_peaks(numbers, count, mask if values is None else values)
        return cls(voxels, peaks, _hits(shared, voxels, min_overlap))


def _hits(shared: Sequence[dict[int, int]], voxels: np.ndarray, min_overlap: float) -> list[dict[int, int]]:
    """Return what is left of ``shared`` without the components that lie mostly outside all lesions."""
    inside = np.zeros_like(voxels)
    for of_lesion in shared:
        for component, count in of_lesion.items():
            inside[component] += count
    hits = inside >= min_overlap * voxels
    return [{one: count for one, count in of_lesion.items() if hits[one]} for of_lesion in shared]


def _sizes_and_peaks(numbers: np.ndarray, count: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    voxels, peaks = np.zeros(count + 1, np.int64), np.zeros(count + 1, values.dtype)
    for layer, value in zip(numbers, values, strict=True):  # bincount of the whole would copy it as int64
        inside = layer > 0
        if inside.any():
            voxels += np.bincount(layer[inside], minlength=count + 1)
            np.maximum.at(peaks, layer[inside], value[inside])
    return voxels, peaks


def _candidates(
    probability: np.ndarray, threshold: float, truths: Sequence[_Truth], min_overlap: float
) -> _Match:
    if probability.dtype != np.uint8:
        raise ValueError(f"probability has type {probability.dtype}, expected uint8 in steps of 1/{_LEVELS}")
    level = min(int(np.ceil(threshold * _LEVELS)), _LEVELS - 1)
    return _Match.of(probability >= level, truths, min_overlap, probability)


def _lesion(
    number: int, truth: _Truth, mask: _Match, candidates: _Match | None, voxel_ml: float, min_overlap: float
) -> Lesion:
    shared = mask.shared[number - 1]
    covered = sum(shared.values()) / truth.voxels
    hitting = int(mask.voxels[list(shared)].sum())
    score = float("nan")
    if candidates is not None:
        finders = _finders(candidates.shared[number - 1], truth, min_overlap)
        score = max((int(candidates.peaks[one]) / _LEVELS for one in finders), default=0.0)
    dice = 2 * sum(shared.values()) / (truth.voxels + hitting)
    return Lesion(number, truth.voxels, truth.voxels * voxel_ml, covered, covered >= min_overlap, dice, score)


def _finders(shared: dict[int, int], truth: _Truth, min_overlap: float) -> list[int]:
    return [component for component, voxels in shared.items() if voxels / truth.voxels >= min_overlap]


def _components(
    match: _Match, truths: Sequence[_Truth], voxel_ml: float, min_overlap: float
) -> list[Component]:
    hits: dict[int, list[int]] = {}
    found: dict[int, list[int]] = {}
    for number, (truth, shared) in enumerate(zip(truths, match.shared, strict=True), 1):
        for component in shared:
            hits.setdefault(component, []).append(number)
        for component in _finders(shared, truth, min_overlap):
            found.setdefault(component, []).append(number)
    is_mask = match.peaks.dtype == bool
    return [
        Component(
            number,
            voxels,
            voxels * voxel_ml,
            tuple(hits.get(number, ())),
            tuple(found.get(number, ())),
            float("nan") if is_mask else int(match.peaks[number]) / _LEVELS,
        )
        for number, voxels in enumerate(match.voxels.tolist())
        if number > 0
    ]
