"""Student and teacher on the same inputs, within MONAI's own engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor, nn

from dckd_ext.networks.taps import Tap
from dckd_ext.networks.wrappers import first_map

Features = Tensor | list[Tensor] | None
TapNames = str | Sequence[str] | None

__all__ = ["DistillationInferer", "DistillationOutput", "run_tapped"]


class DistillationOutput(NamedTuple):
    """What a distillation loss may compare.

    Attributes:
        logits: the student's, ``BCDHW``.
        teacher_logits: the teacher's, ``BCDHW``, without gradient.
        features: the student's tapped map, ``BCDHW``, or None without a tap; with several, a list of maps.
        teacher_features: the teacher's, without gradient, in the same order.
        case_ids: the case of each sample, int64, ``(B,)``.
    """

    logits: Tensor
    teacher_logits: Tensor
    features: Features
    teacher_features: Features
    case_ids: Tensor


class DistillationInferer(Inferer):
    """Runs student and teacher on the same inputs and records a feature map of each.

    The network of the engine stays the student. The teacher is frozen, in eval mode, follows the inputs'
    device and is part of no state dict. Where a network returns several outputs (deep supervision), the
    first counts, which is the full-resolution one in MONAI.

    Args:
        teacher: the trained teacher.
        student_tap: name of the student's submodule whose output is the feature map, or None; or a list, for
            several maps.
        teacher_tap: the same for the teacher; of as many maps.

    Raises:
        ValueError: when the taps are not equally many; on a call, when a tap is no submodule or ``case_ids``
            do not fit the batch.
    """

    def __init__(
        self, teacher: nn.Module, student_tap: TapNames = None, teacher_tap: TapNames = None
    ) -> None:
        if student_tap is not None and teacher_tap is not None and _count(student_tap) != _count(teacher_tap):
            raise ValueError(
                "student_tap and teacher_tap must name equally many maps, "
                f"found {student_tap!r} and {teacher_tap!r}"
            )
        self.teacher = teacher.eval().requires_grad_(False)
        self.student_tap = student_tap
        self.teacher_tap = teacher_tap

    def __call__(
        self,
        inputs: Tensor,
        network: Callable,
        case_ids: Any = None,
        teacher_logits: Tensor | None = None,
        teacher_features: Features = None,
        cases: Sequence[str] | None = None,
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
            cases: names, one a sample, for a teacher that has ``of_case``, see `dckd_ext.teachers.Ensemble`.
            args: ignored, as are ``kwargs``: MONAI's engines pass on whatever the batch holds.
            kwargs: ignored.
        """
        ids = _case_ids(case_ids, len(inputs), inputs.device)
        logits, features = run_tapped(network, inputs, self.student_tap, "student")
        if teacher_logits is None or (teacher_features is None and self.teacher_tap is not None):
            self.teacher.to(inputs.device)
            with torch.no_grad():
                answer, teacher_features = self._ask(inputs, cases)
            teacher_logits = answer if teacher_logits is None else teacher_logits
        return DistillationOutput(logits, teacher_logits, features, teacher_features, ids)

    def _ask(self, inputs: Tensor, cases: Sequence[str] | None) -> tuple[Tensor, Features]:
        """Run the teacher, or for each sample the one that may answer its case."""
        of_case = getattr(self.teacher, "of_case", None)
        if of_case is None or cases is None:
            return run_tapped(self.teacher, inputs, self.teacher_tap, "teacher")
        answers = [
            run_tapped(of_case(case).to(inputs.device), image[None], self.teacher_tap, "teacher")
            for case, image in zip(cases, inputs, strict=True)
        ]
        logits, features = zip(*answers, strict=True)
        if isinstance(self.teacher_tap, str):
            return torch.cat(logits), torch.cat(features)
        maps = None if features[0] is None else [torch.cat(each) for each in zip(*features, strict=True)]
        return torch.cat(logits), maps


def run_tapped(
    network: Any, inputs: Tensor, tap_name: TapNames, whose: str = "network"
) -> tuple[Tensor, Features]:
    """Run a network; return its full-resolution logits, ``BCDHW``, and the map at a tap, or None without.

    Of several taps it returns a list of maps.
    """
    if tap_name is None:
        return first_map(network(inputs), inputs, whose), None
    names = [tap_name] if isinstance(tap_name, str) else tap_name
    with ExitStack() as stack:
        taps = [stack.enter_context(Tap(network, name)) for name in names]
        logits = first_map(network(inputs), inputs, whose)
    return logits, taps[0].output if isinstance(tap_name, str) else [tap.output for tap in taps]


def _count(taps: str | Sequence[str]) -> int | None:
    return None if isinstance(taps, str) else len(taps)


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
