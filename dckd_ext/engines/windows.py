"""What a volume takes in an evaluator that slides a window over it: told after its first window."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, prod
from typing import Any

from monai.inferers import SlidingWindowInferer
from torch import nn
from tqdm import tqdm

__all__ = ["windows_of", "windows_told"]

_logger = logging.getLogger(__name__)


@contextmanager
def windows_told(evaluator: Any, volume: str) -> Iterator[None]:
    """Log windows, seconds and memory after the first window of the case that runs in this block.

    On a terminal a bar counts the windows. Evaluators without a sliding window are left alone.

    Args:
        evaluator: runs one case meanwhile.
        volume: how to call it, as "volume 3 of 10".
    """
    inferer, network = _sliding(evaluator.inferer), evaluator.network
    if inferer is None or not isinstance(network, nn.Module):
        yield
        return
    told = _Told(evaluator, inferer, volume)
    before = network.register_forward_pre_hook(told.begin)
    after = network.register_forward_hook(told.end)
    try:
        yield
    finally:
        before.remove()
        after.remove()
        told.close()


def windows_of(size: Any, roi: Any, overlap: float) -> int:
    """Count the windows that MONAI's sliding window has on a volume.

    Examples:
        >>> windows_of((36, 50, 35), (32, 48, 32), 0.75), windows_of((20, 20, 20), (32, 48, 32), 0.75)
        (8, 1)
    """
    steps = [max(1, int(edge * (1 - overlap))) for edge in roi]
    return prod(
        ceil(max(0, length - edge) / step) + 1 for length, edge, step in zip(size, roi, steps, strict=True)
    )


class _Told:
    def __init__(self, evaluator: Any, inferer: SlidingWindowInferer, volume: str) -> None:
        self.evaluator, self.inferer, self.volume = evaluator, inferer, volume
        self.start: float | None = None
        self.bar: Any = None

    def begin(self, network: nn.Module, inputs: Any) -> None:
        if self.start is None:
            self.start = time.perf_counter()

    def end(self, network: nn.Module, inputs: Any, output: Any) -> None:
        batch = len(inputs[0])
        if self.bar is None and self.start is not None:
            state: Any = self.evaluator.state
            roi, overlap = self.inferer.roi_size, float(self.inferer.overlap)  # type: ignore[arg-type]
            total = windows_of(state.output["image"].shape[2:], roi, overlap)
            seconds = total / batch * (time.perf_counter() - self.start)
            _logger.info("%s: %d window(s), about %.1f s%s", self.volume, total, seconds, _memory())
            self.bar = tqdm(total=total, desc=self.volume, unit="window", disable=None, leave=False)
        if self.bar is not None:
            self.bar.update(batch)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _sliding(inferer: Any) -> SlidingWindowInferer | None:
    inner = getattr(inferer, "inferer", inferer)  # `AutocastInferer` holds it
    return inner if isinstance(inner, SlidingWindowInferer) else None


def _memory() -> str:
    try:
        import resource
    except ImportError:  # Windows does not say
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f", {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit * 1e-9:.2g} GB so far"
