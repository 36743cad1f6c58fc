"""A scene whose right segmentation is known, in any geometry, and a network that finds it if it lies right.

The network answers with the class of a coarse pattern, at the place in its window, wherever the image is
bright. A volume that reaches it flipped, turned, shifted or in another spacing gets the wrong classes.
"""

from __future__ import annotations

import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn

WINDOW = (32, 48, 32)  # voxels of 1 mm: the window of the hippocampus bundles
EXTENT = tuple(edge - 1.0 for edge in WINDOW)
PATTERN = np.random.default_rng(13).integers(1, 3, (4, 6, 4))  # blocks of 8 mm
BRIGHT, DARK = 160.0, 100.0
ORIGIN = (-40.0, 25.0, 12.0)


def scene(shape: tuple[int, int, int] = WINDOW) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The image, float32, its classes, uint8, and the affine of a volume stored to the right, front and top.

    It reaches from the first to the last voxel of a window; an axis of one voxel lies in its middle.
    """
    edges = [extent / (n - 1) if n > 1 else 1.0 for extent, n in zip(EXTENT, shape, strict=True)]
    starts = [0.0 if n > 1 else (edge - 1) // 2 for n, edge in zip(shape, WINDOW, strict=True)]
    axes = [start + edge * np.arange(n) for start, edge, n in zip(starts, edges, shape, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    inside = (((places - np.divide(EXTENT, 2)) / (12, 18, 12)) ** 2).sum(axis=-1) < 1
    blocks = tuple(np.floor((places + 0.5) / 8).astype(int).T)
    classes = np.where(inside, PATTERN[blocks].T, 0)
    affine = nib.affines.from_matvec(np.diag(edges), ORIGIN)
    return np.where(inside, BRIGHT, DARK).astype(np.float32), classes.astype(np.uint8), affine


def turned(volume: np.ndarray, affine: np.ndarray, axcodes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same volume in the world, its axes stored in another order and direction."""
    image = nib.Nifti1Image(volume, affine)
    wanted = nib.orientations.axcodes2ornt(axcodes)
    image = image.as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), wanted)
    )
    return np.asarray(image.dataobj), image.affine


class PatternNetwork(nn.Module):
    """Logits of background and two classes for windows of normalised intensities, ``B1XYZ``."""

    def __init__(self) -> None:
        super().__init__()
        classes = torch.from_numpy(np.kron(PATTERN, np.ones((8, 8, 8), int)))
        against = [torch.where(classes == number, 0.0, -100.0) for number in (1, 2)]
        self.pattern = nn.Parameter(torch.stack([torch.zeros(WINDOW), *against]))

    def forward(self, windows: Tensor) -> Tensor:
        bright = windows - 0.6  # dark is about -0.5, bright about 1.9
        return torch.cat([-bright, bright, bright], dim=1) + self.pattern
