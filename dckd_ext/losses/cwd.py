"""Channel-wise distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dckd_ext.losses.maps import (
    channel_projector,
    check_channels,
    check_positive,
    matched,
    pairs_of_taps,
    softened_divergence,
)
from dckd_ext.losses.precision import in_float32

__all__ = ["CWDLoss"]


class CWDLoss(nn.Module):
    """Channel-wise distillation: each channel, as a distribution over space, follows the teacher's.

    After Shu et al., "Channel-wise knowledge distillation for dense prediction" (ICCV 2021):

        L = T^2 / C  sum_c sum_i phi(F^t_c)_i log(phi(F^t_c)_i / phi(F^s_c)_i),   phi = softmax_i(. / T)

    averaged over the cases. With channels it compares features, through a trainable 1x1x1 projector; without
    it compares maps of equal channels, such as the logits: then give its term
    ``inputs: [logits, teacher_logits]``. Of several taps, with lists of channels, it is the mean of their
    losses (our decision).

    Args:
        student_channels: channels of the student's features, or None for no projector.
        teacher_channels: channels of the teacher's features, or None for no projector.
        temperature: T.

    Raises:
        ValueError: when the temperature is not positive, only one number of channels is given, or the lists
            differ in length.

    Examples:
        >>> import torch
        >>> logits = torch.rand(1, 3, 4, 4, 4)
        >>> CWDLoss()(logits, logits + torch.rand(1, 3, 1, 1, 1)).abs() < 1e-5
        tensor(True)
    """

    inputs = ("features", "teacher_features")

    def __init__(
        self,
        student_channels: int | Sequence[int] | None = None,
        teacher_channels: int | Sequence[int] | None = None,
        temperature: float = 4.0,
    ) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature
        self.projector: nn.Module
        self.taps = nn.ModuleList()
        if student_channels is None and teacher_channels is None:
            self.projector = nn.Identity()
        elif isinstance(student_channels, Sequence) or isinstance(teacher_channels, Sequence):
            pairs = pairs_of_taps(student_channels, teacher_channels)
            self.taps.extend(CWDLoss(*pair, temperature) for pair in pairs)
        elif student_channels is not None and teacher_channels is not None:
            self.projector = channel_projector(student_channels, teacher_channels)
        else:
            raise ValueError(
                "Give the channels of both maps or of neither, got "
                f"student_channels={student_channels} and teacher_channels={teacher_channels}"
            )

    @in_float32
    def forward(self, features: Any, teacher_features: Any) -> Tensor:
        """Return the loss as a scalar.

        Args:
            features: the student's map, ``BCDHW``, or a list of them.
            teacher_features: the teacher's map, ``BCDHW``, or a list of them; its size may differ.

        Raises:
            ValueError: when the channels differ after the projector.
        """
        if self.taps:
            maps = zip(self.taps, features, teacher_features, strict=True)
            return torch.stack([loss(*pair) for loss, *pair in maps]).mean()
        student, teacher = matched(features, teacher_features)
        student = self.projector(student)
        check_channels(student, teacher)
        return softened_divergence(student.flatten(2), teacher.flatten(2), self.temperature, dim=2)
