"""3D convolutions on a CPU: the fast kernel for single windows, and float32 where bfloat16 trains wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dckd_ext.utils.precision import to_float32

__all__ = ["SingleWindowsByOneDNN", "SmallMapsInFloat32"]

# Above it, torch itself takes oneDNN for one window.
_SMALL = 20480


class SingleWindowsByOneDNN(TorchFunctionMode):
    """Give float32 convolutions of a single small window to oneDNN, as torch does for two windows.

    The rule by which torch (2.6 to 2.13) chooses its kernel on a CPU was made for 2D: a batch of one, whose
    channels x depth x height (the width is not counted) are at most 20,480, goes to ``slow_conv3d``, which
    takes up to ten times as long for kernels of 3. No public switch changes that, nor do memory formats or
    numbers of threads. Results differ by rounding alone. Kernels of 1 are left as they are, since torch's own
    is faster for them. Nothing changes on other devices, under autocast, and while a network is traced or
    compiled. Ours.

    Examples:
        >>> network = torch.nn.Conv3d(1, 2, 3)
        >>> with SingleWindowsByOneDNN():
        ...     tuple(network(torch.rand(1, 1, 8, 8, 8)).shape)
        (1, 2, 6, 6, 6)
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``func``, by oneDNN where it is such a convolution."""
        kwargs = kwargs or {}
        if func is torch.conv3d:
            call = _Convolution(*args, **kwargs)
            if call.is_slow():
                return call.by_onednn()
        return func(*args, **kwargs)


class _Convolution:
    """The arguments of ``torch.conv3d``, however they are given."""

    def __init__(
        self,
        input: Tensor,  # noqa: A002 (torch's name)
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> None:
        self.input, self.weight, self.bias = input, weight, bias
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def is_slow(self) -> bool:
        """Whether torch would take its slow kernel, and oneDNN can take its place."""
        return self._onednn_can() and self._is_single_and_small() and max(self.weight.shape[2:]) > 1

    def _onednn_can(self) -> bool:
        elsewhere = (
            torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or torch.compiler.is_compiling()
        )
        tensors = [each for each in (self.input, self.weight, self.bias) if each is not None]
        plain = all(each.device.type == "cpu" and each.dtype is torch.float32 for each in tensors)
        return plain and not elsewhere and torch.backends.mkldnn.is_available()

    def _is_single_and_small(self) -> bool:
        shape = self.input.shape
        single = len(shape) == 5 and shape[0] == 1 and self.groups == 1 and not isinstance(self.padding, str)
        return single and shape[:4].numel() <= _SMALL

    def by_onednn(self) -> Tensor:
        stride, padding, dilation = (
            (edge,) * 3 if isinstance(edge, int) else tuple(edge)
            for edge in (self.stride, self.padding, self.dilation)
        )
        return torch.mkldnn_convolution(
            self.input, self.weight, self.bias, padding, stride, dilation, self.groups
        )


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
        if func is torch.conv3d and _trains_on_a_small_map(*args, **kwargs):
            with torch.autocast("cpu", enabled=False):
                return func(*to_float32(args), **to_float32(kwargs))
        return func(*args, **kwargs)


def _trains_on_a_small_map(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> bool:  # noqa: A002
    smaller = any(size < kernel for size, kernel in zip(input.shape[2:], weight.shape[2:], strict=True))
    return smaller and input.device.type == "cpu" and torch.is_grad_enabled()
