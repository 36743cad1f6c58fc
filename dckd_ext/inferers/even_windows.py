"""nnU-Net's sliding window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.inferers import Inferer
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
        size = inputs.shape[2:]
        lacking = [max(0, edge - length) for edge, length in zip(self.roi_size, size, strict=True)]
        padding = [side for lack in reversed(lacking) for side in (lack // 2, lack - lack // 2)]
        volume = F.pad(inputs, padding)
        weight = _weight(self.roi_size).to(inputs.device)
        starts = product(*map(window_starts, volume.shape[2:], self.roi_size, [self.step] * 3))
        windows = [tuple(map(slice, one, np.add(one, self.roi_size))) for one in starts]
        sums: list[Tensor] = []
        total = torch.zeros(volume.shape[2:], device=inputs.device)
        several = False
        for first in range(0, len(windows), self.sw_batch_size):
            batch = windows[first : first + self.sw_batch_size]
            output = network(torch.cat([volume[(..., *window)] for window in batch]), *args, **kwargs)
            several = isinstance(output, tuple)
            maps = output if several else (output,)
            sums = sums or [torch.zeros((len(inputs), one.shape[1], *total.shape), device=total.device) for one in maps]
            for number, window in enumerate(batch):
                total[window] += weight
                part = slice(number * len(inputs), (number + 1) * len(inputs))
                for one, answer in zip(sums, maps, strict=True):
                    one[(..., *window)] += answer[part].float() * weight
        inside = tuple(slice(lack // 2, lack // 2 + length) for lack, length in zip(lacking, size, strict=True))
        averages = tuple((one / total)[(..., *inside)] for one in sums)
        return averages if several else averages[0]


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
