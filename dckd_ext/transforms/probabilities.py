"""The probability of the foreground, in eight bits."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

__all__ = ["ForegroundProbabilityd"]

_LAYERS = 16  # at once, so that no float copy of a whole volume is made


class ForegroundProbabilityd(MapTransform):
    """Write ``1 - p(background)`` of class logits under a new key, before ``AsDiscreted`` overwrites them.

    In steps of 1/256, rounded down (our decision): a value v stands for probabilities in [v/256, (v+1)/256),
    so that 128 and above is exactly p >= 0.5; 255 includes 1. The result is a MetaTensor with the meta data
    of the logits, which ``Invertd(orig_keys="image", nearest_interp=True)`` brings back to the image's grid.

    Args:
        keys: key of the logits, ``(C, H, W, D)``, background first; one key.
        output: key of the result, ``(1, H, W, D)``, uint8, on the same device.
        allow_missing_keys: leave data without logits as they are.

    Raises:
        ValueError: when there are fewer than two channels or they are no floating-point numbers, as after
            ``AsDiscreted``.

    Examples:
        >>> data = {"pred": torch.tensor([0.0, 0.0]).view(2, 1, 1, 1)}
        >>> int(ForegroundProbabilityd("pred")(data)["probability"])
        128
    """

    def __init__(
        self, keys: KeysCollection, output: str = "probability", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"expected one key of logits, found {self.keys}")
        self.output = output

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with the new key."""
        d = dict(data)
        for key in self.key_iterator(d):
            self._check(d[key], key)
            levels = _foreground_levels(torch.as_tensor(d[key]))
            d[self.output] = (
                MetaTensor(levels, meta=d[key].meta, applied_operations=d[key].applied_operations)
                if isinstance(d[key], MetaTensor)
                else MetaTensor(levels)
            )
        return d

    def _check(self, logits: torch.Tensor, key: Hashable) -> None:
        if logits.shape[0] < 2 or not logits.is_floating_point():
            raise ValueError(
                f"{key}: found shape {tuple(logits.shape)} of {logits.dtype}, expected floating-point logits "
                "of at least two classes, channels first; place ForegroundProbabilityd before AsDiscreted"
            )


def _foreground_levels(logits: torch.Tensor) -> torch.Tensor:
    logits = logits.as_tensor() if isinstance(logits, MetaTensor) else logits
    levels = torch.empty((1, *logits.shape[1:]), dtype=torch.uint8, device=logits.device)
    for part, target in zip(logits.split(_LAYERS, dim=1), levels.split(_LAYERS, dim=1), strict=True):
        foreground = 1 - part.float().softmax(dim=0)[:1]
        target.copy_((foreground * 256).clamp_(max=255))  # 256 is a power of two: exact
    return levels
