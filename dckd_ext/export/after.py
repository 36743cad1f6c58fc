"""What comes after a network, as MONAI's transforms do it, with numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["AFTER", "finish", "largest_component"]


def finish(
    found: np.ndarray, steps: Sequence[Mapping[str, Any]], undo: Sequence[Callable[..., np.ndarray]]
) -> np.ndarray:
    """Turn logits into a mask.

    Args:
        found: logits, ``KXYZ``.
        steps: in order, with their options.
        undo: what the step "invert" does, the last one first.

    Returns:
        uint8, ``XYZ``; with regions that may overlap ``XYZK``, each 0 or 1.
    """
    for step in steps:
        options = {key: value for key, value in step.items() if key != "step"}
        if step["step"] == "invert":
            for back in reversed(undo):
                found = np.stack([back(channel, **options) for channel in found])
        else:
            found = AFTER[step["step"]](found, **options)
    found = found.astype(np.uint8)
    return found[0] if len(found) == 1 else np.moveaxis(found, 0, -1)


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Return the largest component of a volume, bool; voxels that share a corner belong together.

    Runs of voxels along the last axis are joined with those that touch them in the lines around. Of
    components of one size it is the one that comes first.
    """
    mask = np.asarray(mask, bool)
    lines, starts, ends = _runs(mask)
    if not len(starts):
        return mask
    label = np.arange(len(starts))
    first, second = _touching(lines, starts, ends, mask.shape)
    while True:
        before = label.copy()
        least = np.minimum(label[first], label[second])
        np.minimum.at(label, first, least)
        np.minimum.at(label, second, least)
        np.minimum.at(label, before, label)  # what a root has got, all of its runs get
        label = label[label]
        if (label == before).all():
            break
    sizes = np.bincount(label, weights=ends - starts)
    kept = np.flatnonzero(label == sizes.argmax())
    flat = np.zeros(mask.size + 1, np.int8)
    offset = lines[kept] * mask.shape[2]
    np.add.at(flat, offset + starts[kept], 1)
    np.add.at(flat, offset + ends[kept], -1)
    return flat[:-1].cumsum(dtype=np.int8).astype(bool).reshape(mask.shape)


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Line (of the first two axes), start and end (exclusive) of every run, in order."""
    table = mask.reshape(-1, mask.shape[2])
    steps = np.diff(np.pad(table, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(steps == 1)
    return lines, starts, np.nonzero(steps == -1)[1]


def _touching(
    lines: np.ndarray, starts: np.ndarray, ends: np.ndarray, shape: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs of lines that lie side by side, which share a face, edge or corner."""
    width = shape[2] + 2  # no run of one line reaches the keys of the next
    begin, finish = lines * width + starts, lines * width + ends
    column = lines % shape[1]
    pairs = []
    for over, up in ((0, 1), (1, -1), (1, 0), (1, 1)):
        there = np.flatnonzero((column + up >= 0) & (column + up < shape[1]))
        shift = (over * shape[1] + up) * width
        low = np.searchsorted(finish, begin[there] + shift, side="left")
        high = np.searchsorted(begin, finish[there] + shift, side="right")
        counts = np.maximum(high - low, 0)
        offsets = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        pairs.append((np.repeat(there, counts), np.repeat(low, counts) + offsets))
    return np.concatenate([one for one, _ in pairs]), np.concatenate([other for _, other in pairs])


def _softmax(found: np.ndarray) -> np.ndarray:
    powers = np.exp(found - found.max(axis=0))
    return powers / powers.sum(axis=0)


def _sigmoid(found: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # exp(-x) of a large -x: the quotient is 0
        return 1 / (1 + np.exp(-found))


def _largest(found: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    found = found.copy()
    for label in labels:
        here = found[0] == label
        found[0][here & ~largest_component(here)] = 0
    return found


AFTER: Mapping[str, Callable[..., np.ndarray]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "argmax": lambda found: found.argmax(axis=0)[None].astype(np.uint8),
    "threshold": lambda found, value: (found >= value).astype(np.uint8),
    "largest": _largest,
    "invert": lambda found, linear: found,  # `finish` does it, which knows how
}
"""Steps after the network by name, from ``KXYZ`` to ``KXYZ``."""
