"""Distillation of logits."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["LogitsDistillationLoss"]


class LogitsDistillationLoss(nn.Module):
    r"""Knowledge distillation on softened class probabilities, :math:`T^2 KL(p_t \| p_s)`.

    After Hinton et al., "Distilling the knowledge in a neural network" (2015), as a plain mean over voxels.
    The abstract does not name this term: to train with it is our decision.

    Args:
        temperature: T, by which the logits are divided.

    Raises:
        ValueError: when the temperature is not positive.

    Example:
        >>> import torch
        >>> logits = torch.rand(1, 2, 4, 4, 4)
        >>> LogitsDistillationLoss()(logits, logits)
        tensor(0.)
    """

    inputs = ("logits", "teacher_logits")

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"The temperature must be positive, got {temperature}")
        self.temperature = temperature

    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the loss as a scalar.

        Args:
            logits: the student's, ``BCDHW``.
            teacher_logits: the teacher's, ``BCDHW``.

        Raises:
            ValueError: when the shapes differ.
        """
        if logits.shape != teacher_logits.shape:
            raise ValueError(
                f"Logits must have one shape, got {tuple(logits.shape)} of the student "
                f"and {tuple(teacher_logits.shape)} of the teacher"
            )
        student = F.log_softmax(logits / self.temperature, dim=1)
        teacher = F.log_softmax(teacher_logits / self.temperature, dim=1)
        divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(1)
        return divergence.mean() * self.temperature**2
