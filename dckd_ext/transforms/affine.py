"""MONAI's random affine transform, for maps of many channels too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.transforms import RandAffined, Resample
from monai.utils import convert_to_dst_type
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["RandAffineMapsd"]

_MANY = 3  # channels from which on rows are faster


class RandAffineMapsd(RandAffined):
    """MONAI's ``RandAffined``, several times faster on a CPU for volumes of many channels.

    Torch samples a volume channel by channel, and finds the eight neighbours of a voxel for each anew. Here a
    voxel's channels are one row, and its new value is the weighted sum of eight rows, an embedding bag. That
    is done for linear interpolation with border padding; the rest is MONAI's. Ours.

    Args:
        args: those of ``RandAffined``.
        kwargs: those of ``RandAffined``.

    Examples:
        >>> from monai.transforms import RandAffined
        >>> same = {"keys": ["map"], "prob": 1.0, "rotate_range": [0.2] * 3, "padding_mode": "border"}
        >>> volume = {"map": torch.rand(16, 9, 8, 7)}
        >>> ours, theirs = (kind(**same).set_random_state(0) for kind in (RandAffineMapsd, RandAffined))
        >>> (ours(volume)["map"] - theirs(volume)["map"]).abs().max().item() < 1e-5
        True
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.rand_affine.resampler = _ResampleRows(device=self.rand_affine.resampler.device)


class _ResampleRows(Resample):
    def __call__(
        self,
        img: Tensor,
        grid: Tensor | None = None,
        mode: Any = None,
        padding_mode: Any = None,
        dtype: Any = None,
        align_corners: bool | None = None,
    ) -> Tensor:
        linear = str(mode) == "bilinear" and str(padding_mode) == "border"
        if grid is None or not linear or img.ndim != 4 or len(img) < _MANY or img.device.type != "cpu":
            return super().__call__(img, grid, mode, padding_mode, dtype, align_corners)
        rows, weights = _neighbours(grid, img.shape[1:])
        table = img.as_subclass(Tensor).flatten(1).T.contiguous().float()
        moved = F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum").T.contiguous()
        return convert_to_dst_type(moved.view(len(img), *grid.shape[1:]), dst=img, dtype=torch.float32)[0]


def _neighbours(grid: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the eight rows around each voxel of MONAI's grid ``(4)DHW``, and their weights, ``(N, 8)``."""
    first: Any = 0
    offsets, weights = [0], [torch.ones(())]
    for centred, edge in zip(grid[:3].flatten(1).float(), size, strict=True):
        place = (centred + (edge - 1) / 2).clamp_(0, edge - 1)
        low = place.floor().clamp_(max=max(edge - 2, 0))
        share = place.sub_(low)
        first = first * edge + low.int()
        offsets = [offset * edge + step for offset in offsets for step in (0, min(1, edge - 1))]
        weights = [weight * part for weight in weights for part in (1 - share, share)]
    return first[:, None] + torch.tensor(offsets, dtype=torch.int32), torch.stack(weights, 1)
