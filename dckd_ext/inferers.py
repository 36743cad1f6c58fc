"""Inferers that plug distillation and mixed precision into MONAI's own engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dckd_ext.networks.wrappers import first_tensor
from dckd_ext.taps import Tap

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class DistillationOutput(NamedTuple):
    """What a distillation loss may compare.

    Args:
        logits: the student's, ``BCDHW``.
        teacher_logits: the teacher's, ``BCDHW``, without gradient.
        features: the student's tapped map, ``BCDHW``, or None without a tap.
        teacher_features: the teacher's tapped map, ``BCDHW``, without gradient, or None without a tap.
        case_ids: the case of each sample, int64, ``(B,)``.
    """

    logits: Tensor
    teacher_logits: Tensor
    features: Tensor | None
    teacher_features: Tensor | None
    case_ids: Tensor


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

    Example:
        >>> from monai.inferers import SimpleInferer
        >>> inferer = AutocastInferer(SimpleInferer(), "bfloat16")
        >>> inferer(torch.rand(1, 1, 4, 4, 4), torch.nn.Conv3d(1, 2, 1)).dtype
        torch.float32
    """

    def __init__(self, inferer: Inferer, dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise ValueError(f"Unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}.")
        self.inferer = inferer
        self.dtype = DTYPES[dtype]

    def __call__(self, inputs: Tensor, network: Callable, *args: Any, **kwargs: Any) -> Any:
        """The wrapped inferer's result with every floating point tensor as float32."""
        device_type = inputs.device.type
        if device_type == "cpu" and self.dtype is torch.float16:
            raise ValueError("float16 autocast is not supported on a CPU: use bfloat16.")
        inputs = inputs.float()  # a compact cache holds float16
        enabled = self.dtype is not torch.float32
        small = SmallMapsInFloat32() if enabled and device_type == "cpu" else nullcontext()
        with torch.autocast(device_type, dtype=self.dtype, enabled=enabled), small:
            return _to_float32(self.inferer(inputs, network, *args, **kwargs))


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
                return func(*_to_float32(args), **_to_float32(kwargs))
        return func(*args, **kwargs)


def _is_small(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> bool:  # noqa: A002 (torch's name)
    return any(size < kernel for size, kernel in zip(input.shape[2:], weight.shape[2:], strict=True))


class DistillationInferer(Inferer):
    """Runs student and teacher on the same inputs and records a feature map of each.

    The network of the engine stays the student. The teacher is frozen, in eval mode, follows the inputs'
    device and is part of no state dict. Where a network returns several outputs (deep supervision), the
    first counts, which is the full-resolution one in MONAI.

    Args:
        teacher: the trained teacher.
        student_tap: name of the student's submodule whose output is the feature map, or None.
        teacher_tap: the same for the teacher.

    Raises:
        ValueError: on a call, when a tap is no submodule or ``case_ids`` do not fit the batch.
    """

    def __init__(
        self, teacher: nn.Module, student_tap: str | None = None, teacher_tap: str | None = None
    ) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.student_tap = student_tap
        self.teacher_tap = teacher_tap

    def __call__(
        self,
        inputs: Tensor,
        network: Callable,
        case_ids: Any = None,
        teacher_logits: Tensor | None = None,
        teacher_features: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> DistillationOutput:
        """Logits and features of both networks.

        Args:
            inputs: images, ``BCDHW``.
            network: the student.
            case_ids: integers, one a sample, as a list or tensor. Without them every sample of the batch
                counts as a case of its own.
            teacher_logits: what the teacher has answered to these inputs before; it is not run again then.
            teacher_features: its features at the tap, with `teacher_logits`.
            args: ignored, as are ``kwargs``: MONAI's engines pass on whatever the batch holds.
            kwargs: ignored.
        """
        ids = _case_ids(case_ids, len(inputs), inputs.device)
        logits, features = run_tapped(network, inputs, self.student_tap)
        if teacher_logits is None:
            self.teacher.to(inputs.device)
            with torch.no_grad():
                teacher_logits, teacher_features = run_tapped(self.teacher, inputs, self.teacher_tap)
        return DistillationOutput(logits, teacher_logits, features, teacher_features, ids)


def run_tapped(network: Any, inputs: Tensor, tap_name: str | None) -> tuple[Tensor, Tensor | None]:
    """Run a network; return its full-resolution logits, ``BCDHW``, and the map at a tap, or None without."""
    if tap_name is None:
        return _first_head(network(inputs), inputs), None
    with Tap(network, tap_name) as tap:
        logits = _first_head(network(inputs), inputs)
    return logits, tap.output


def _first_head(output: Any, inputs: Tensor) -> Tensor:
    logits = first_tensor(output)
    return (
        logits[:, 0] if logits.ndim > inputs.ndim else logits
    )  # DynUNet stacks its heads: (B, heads, C, DHW)


def _case_ids(case_ids: Any, batch: int, device: torch.device) -> Tensor:
    if case_ids is None:
        return -1 - torch.arange(batch, device=device)
    try:
        ids = torch.as_tensor(case_ids, device=device)
    except (TypeError, ValueError) as error:
        raise ValueError(f"case_ids must be integers, one a sample, got {case_ids!r}.") from error
    ids = ids.as_tensor() if isinstance(ids, MetaTensor) else ids
    if ids.numel() != batch or ids.is_floating_point():
        raise ValueError(f"case_ids must be {batch} integers, one a sample, got {case_ids!r}.")
    return ids.flatten().long()


def _to_float32(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, Mapping):
        return {key: _to_float32(value) for key, value in output.items()}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*map(_to_float32, output))
    if isinstance(output, list | tuple):
        return type(output)(map(_to_float32, output))
    return output
