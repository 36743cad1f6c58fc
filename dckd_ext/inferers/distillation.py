"""Student and teacher on the same inputs, within MONAI's own engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor, nn

from dckd_ext.networks.taps import Tap
from dckd_ext.networks.wrappers import first_map

__all__ = ["DistillationInferer", "DistillationOutput", "run_tapped"]


class DistillationOutput(NamedTuple):
    """What a distillation loss may compare.

    Attributes:
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
            teacher_logits: what the teacher has answered to these inputs before.
            teacher_features: its features at the tap, with `teacher_logits`. The teacher is run for what is
                not given.
            args: ignored, as are ``kwargs``: MONAI's engines pass on whatever the batch holds.
            kwargs: ignored.
        """
        ids = _case_ids(case_ids, len(inputs), inputs.device)
        logits, features = run_tapped(network, inputs, self.student_tap, "student")
        if teacher_logits is None or (teacher_features is None and self.teacher_tap is not None):
            self.teacher.to(inputs.device)
            with torch.no_grad():
                answer, teacher_features = run_tapped(self.teacher, inputs, self.teacher_tap, "teacher")
            teacher_logits = answer if teacher_logits is None else teacher_logits
        return DistillationOutput(logits, teacher_logits, features, teacher_features, ids)


def run_tapped(
    network: Any, inputs: Tensor, tap_name: str | None, whose: str = "network"
) -> tuple[Tensor, Tensor | None]:
    """Run a network; return its full-resolution logits, ``BCDHW``, and the map at a tap, or None without."""
    if tap_name is None:
        return first_map(network(inputs), inputs, whose), None
    with Tap(network, tap_name) as tap:
        logits = first_map(network(inputs), inputs, whose)
    return logits, tap.output


def _case_ids(case_ids: Any, batch: int, device: torch.device) -> Tensor:
    if case_ids is None:
        return -1 - torch.arange(batch, device=device)
    try:
        ids = torch.as_tensor(case_ids, device=device)
    except (TypeError, ValueError) as error:
        raise ValueError(f"case_ids must be integers, one a sample, got {case_ids!r}") from error
    ids = ids.as_tensor() if isinstance(ids, MetaTensor) else ids
    if ids.numel() != batch or ids.is_floating_point():
        raise ValueError(f"case_ids must be {batch} integers, one a sample, got {case_ids!r}")
    return ids.flatten().long()
