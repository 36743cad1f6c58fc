"""Mixed precision on any device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["AutocastInferer", "SmallMapsInFloat32", "to_float32"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class AutocastInferer(Inferer):
    """Runs another inferer under autocast of the inputs' device; takes any float type and returns float32.

    MONAI's engines autocast on CUDA only, so ``amp=True`` leaves a CPU run in float32; this serves every
    device, in training, validation and inference. Training in float16 also needs a gradient scaler, which
    the trainer's ``amp=True`` brings; bfloat16 needs none. On a CPU, convolutions of maps smaller than their
    kernel train in float32 all the same: see `SmallMapsInFloat32`.

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
        """Return the wrapped inferer's result with every floating point tensor as float32."""
        device_type = inputs.device.type
        if device_type == "cpu" and self.dtype is torch.float16:
            raise ValueError("float16 autocast is not supported on a CPU: use bfloat16")
        inputs = inputs.float()  # a compact cache holds float16
        enabled = self.dtype is not torch.float32
        small = SmallMapsInFloat32() if enabled and device_type == "cpu" else nullcontext()
        with torch.autocast(device_type, dtype=self.dtype, enabled=enabled), small:
            return to_float32(self.inferer(inputs, network, *args, **kwargs))


class SmallMapsInFloat32(TorchFunctionMode):
    """Train 3D convolutions of maps that are smaller than their kernel along an axis in float32.

    In bfloat16 the CPU kernels of torch 2.13 give their weights wrong gradients, up to NaN, that depend on
    what memory held before. It happens at the lowest level of a network, for example at 2 x 3 x 2 voxels with
    kernels of 3. Ours: found when trainings were lost to it.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func``, without autocast where it is such a convolution."""
        kwargs = kwargs or {}
        if func is torch.conv3d and torch.is_grad_enabled() and _is_small(*args, **kwargs):
            with torch.autocast("cpu", enabled=False):
                return func(*to_float32(args), **to_float32(kwargs))
        return func(*args, **kwargs)


def _is_small(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> bool:  # noqa: A002 (torch's name)
    return any(size < kernel for size, kernel in zip(input.shape[2:], weight.shape[2:], strict=True))


def to_float32(value: Any) -> Any:
    """Cast every floating point tensor in a nest of tuples, lists and mappings; leave all else as it is."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: to_float32(part) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(to_float32, value))
    if isinstance(value, list | tuple):
        return type(value)(map(to_float32, value))
    return value
