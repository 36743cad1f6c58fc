"""nnU-Net's sliding window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from scipy.ndimage import gaussian_filter
from torch import Tensor

__all__ = ["EvenWindowInferer", "window_starts"]


class EvenWindowInferer(Inferer):
    """Slide a window at even distances over a volume, as nnU-Net does; average by a Gaussian weight.

    MONAI's `SlidingWindowInferer` goes by a fixed step and moves the last window back; here all steps of an
    axis are equal up to rounding. A volume that is smaller than the window is padded by 0 on both sides. The
    sums are in float32; nnU-Net's are in float16.

    Args:
        roi_size: window, voxels.
        step: the greatest step, as a share of the window.
        sw_batch_size: windows at once.

    Raises:
        ValueError: for a step that is not above 0 and at most 1.
    """

    def __init__(self, roi_size: Sequence[int], step: float = 0.5, sw_batch_size: int = 1) -> None:
        if not 0 < step <= 1:
            raise ValueError(f"step must be above 0 and at most 1, found {step}")
        self.roi_size, self.step, self.sw_batch_size = tuple(map(int, roi_size)), step, sw_batch_size

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a network, which gives one map or several of the window's size, over volumes ``BCHWD``."""
        image = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        lacking = [max(0, edge - length) for edge, length in zip(self.roi_size, image.shape[2:], strict=True)]
        volume = F.pad(image, [side for lack in reversed(lacking) for side in (lack // 2, lack - lack // 2)])
        sums, total, several = self._sums(volume, lambda windows: network(windows, *args, **kwargs))
        inside: tuple[Any, ...] = tuple(
            slice(lack // 2, lack // 2 + length)
            for lack, length in zip(lacking, image.shape[2:], strict=True)
        )
        averages = tuple(convert_to_dst_type((one / total)[(..., *inside)], inputs)[0] for one in sums)
        return averages if several else averages[0]

    def _sums(self, volume: Tensor, network: Callable[[Tensor], Any]) -> tuple[list[Tensor], Tensor, bool]:
        """Return the weighted sums of each map, that of the weights, and whether the network gave a tuple."""
        weight = _weight(self.roi_size).to(volume.device)
        starts: Any = product(*map(window_starts, volume.shape[2:], self.roi_size, [self.step] * 3))
        windows: list[tuple[Any, ...]] = [
            tuple(slice(first, first + edge) for first, edge in zip(one, self.roi_size, strict=True))
            for one in starts
        ]
        sums: list[Tensor] = []
        total = torch.zeros(volume.shape[2:], device=volume.device)
        for first in range(0, len(windows), self.sw_batch_size):
            batch = windows[first : first + self.sw_batch_size]
            output = network(torch.cat([volume[(..., *window)] for window in batch]))
            maps = output if isinstance(output, tuple) else (output,)
            sums = sums or [total.new_zeros((len(volume), one.shape[1], *total.shape)) for one in maps]
            for number, window in enumerate(batch):
                total[window] += weight
                part = slice(number * len(volume), (number + 1) * len(volume))
                for one, answer in zip(sums, maps, strict=True):
                    one[(..., *window)] += answer[part].float() * weight
        return sums, total, isinstance(output, tuple)


def window_starts(size: int, window: int, step: float) -> list[int]:
    """Return where the windows of one axis start."""
    count = int(np.ceil((size - window) / (window * step))) + 1
    return [int(np.round((size - window) / max(count - 1, 1) * number)) for number in range(count)]


def _weight(roi_size: Sequence[int]) -> Tensor:
    peak = np.zeros(roi_size)
    peak[tuple(edge // 2 for edge in roi_size)] = 1
    smooth = gaussian_filter(peak, [edge / 8 for edge in roi_size], mode="constant")
    weight = torch.from_numpy(10 * smooth / smooth.max()).half().float()  # as nnU-Net keeps it
    return weight.clamp(min=float(weight[weight > 0].min()))
