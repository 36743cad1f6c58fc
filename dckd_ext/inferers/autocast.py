"""Mixed precision on any device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from dckd_ext.inferers.convolutions import SingleWindowsByOneDNN, SmallMapsInFloat32
from dckd_ext.networks.wrappers import first_map
from dckd_ext.utils.precision import to_float32
from dckd_ext.utils.processor import bfloat16_slowdown

__all__ = ["DTYPES", "AutocastInferer"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class AutocastInferer(Inferer):
    """Runs another inferer under autocast of the inputs' device; takes any float type and returns float32.

    MONAI's engines autocast on CUDA only, so ``amp=True`` leaves a CPU run in float32; this serves every
    device, in training, validation and inference. Training in float16 also needs a gradient scaler, which
    the trainer's ``amp=True`` brings; bfloat16 needs none. On a CPU, convolutions of maps smaller than their
    kernel train in float32 all the same (`SmallMapsInFloat32`), and those of single windows in float32 get
    the fast kernel (`SingleWindowsByOneDNN`). bfloat16 on a CPU that has none is warned of, once.

    Args:
        inferer: the inferer to run.
        dtype: "float32" (no autocast), "bfloat16" or "float16".

    Raises:
        ValueError: when the dtype is none of these, or (on a call) when it is float16 on a CPU.

    Examples:
        >>> from monai.inferers import SimpleInferer
        >>> inferer = AutocastInferer(SimpleInferer(), "bfloat16")
        >>> inferer(torch.rand(1, 1, 4, 4, 4), torch.nn.Conv3d(1, 2, 1)).dtype
        torch.float32
    """

    def __init__(self, inferer: Inferer, dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise ValueError(f"Unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
        self.inferer = inferer
        self.dtype = DTYPES[dtype]

    def __call__(self, inputs: Tensor, network: Callable, *args: Any, **kwargs: Any) -> Any:
        """Return the wrapped inferer's result with every floating point tensor as float32.

        Of a network that gives several maps, as with deep supervision, it is the first.
        """
        device_type = inputs.device.type
        if device_type == "cpu" and self.dtype is torch.float16:
            raise ValueError("float16 autocast is not supported on a CPU: use bfloat16")
        if device_type == "cpu" and self.dtype is torch.bfloat16:
            _warn_of_bfloat16(bfloat16_slowdown())
        inputs = inputs.float()  # a compact cache holds float16
        enabled = self.dtype is not torch.float32
        convolutions = SmallMapsInFloat32() if enabled else SingleWindowsByOneDNN()
        with torch.autocast(device_type, dtype=self.dtype, enabled=enabled), convolutions:
            found = self.inferer(inputs, network, *args, **kwargs)
        several = isinstance(network, nn.Module) and type(found) in (list, tuple, dict)
        return to_float32(first_map(found, inputs) if several else found)


@cache
def _warn_of_bfloat16(slowdown: str | None) -> None:
    if slowdown is not None:
        logging.getLogger(__name__).warning(
            "this processor has neither AVX512-BF16 nor AMX: 3D convolutions in bfloat16 take "
            "%s as in float32: use --autocast float32",
            slowdown,
        )
