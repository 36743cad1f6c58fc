"""Distillation of logits."""

from __future__ import annotations

from torch import Tensor, nn

from dckd_ext.losses.maps import check_logits, check_positive, softened_divergence
from dckd_ext.losses.precision import in_float32

__all__ = ["LogitsDistillationLoss"]


class LogitsDistillationLoss(nn.Module):
    """Knowledge distillation on softened class probabilities, ``T^2 KL(p^t || p^s)``.

    After Hinton et al., "Distilling the knowledge in a neural network" (2015), as a plain mean over voxels.
    The abstract does not name this term: to train with it is our decision.

    Args:
        temperature: T, by which the logits are divided.

    Raises:
        ValueError: when the temperature is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.rand(1, 2, 4, 4, 4)
        >>> LogitsDistillationLoss()(logits, logits)
        tensor(0.)
    """

    inputs = ("logits", "teacher_logits")

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature

    @in_float32
    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the loss as a scalar.

        Args:
            logits: the student's, ``BCDHW``.
            teacher_logits: the teacher's, ``BCDHW``.

        Raises:
            ValueError: when the shapes differ.
        """
        check_logits(logits, teacher_logits)
        return softened_divergence(logits, teacher_logits, self.temperature, dim=1)
