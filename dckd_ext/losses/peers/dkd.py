"""Decoupled knowledge distillation of logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dckd_ext.losses.maps import check_logits, check_positive
from dckd_ext.losses.precision import in_float32

__all__ = ["DKDLoss"]


class DKDLoss(nn.Module):
    """Knowledge distillation with a weight of its own for what the teacher says of the other classes.

    After Zhao et al., "Decoupled knowledge distillation" (CVPR 2022). With probabilities p softened by T and
    y the true class of a voxel,

        L = T^2 (alpha KL([p^t_y, 1 - p^t_y] || [p^s_y, 1 - p^s_y]) + beta KL(q^t || q^s)),
        q_k = p_k / (1 - p_y) for k != y

    as a mean over the voxels that have a class (theirs is over images). The second part is zero where there
    are two classes.

    Args:
        alpha: weight of the true class against the rest.
        beta: weight of the other classes among each other.
        temperature: T.

    Raises:
        ValueError: when the temperature is not positive.
    """

    inputs = ("logits", "teacher_logits", "classes")

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature

    @in_float32
    def forward(self, logits: Tensor, teacher_logits: Tensor, classes: Tensor) -> Tensor:
        """Return the loss as a scalar, a zero attached to the graph where no voxel has a class.

        Args:
            logits: the student's, ``BKDHW``.
            teacher_logits: the teacher's, ``BKDHW``.
            classes: class of each voxel, ``B1DHW``; a value outside the K classes is ignored.

        Raises:
            ValueError: when the shapes differ, or there are fewer than two classes.
        """
        check_logits(logits, teacher_logits, least=2)
        if classes.shape != (len(logits), 1, *logits.shape[2:]):
            raise ValueError(
                f"The label must have the size of logits {tuple(logits.shape)}, got {tuple(classes.shape)}"
            )
        true = classes == torch.arange(logits.shape[1], device=classes.device).view(1, -1, 1, 1, 1)
        labelled = true.any(1)
        (student, student_rest), (teacher, teacher_rest) = (
            _decoupled(volume / self.temperature, true) for volume in (logits, teacher_logits.detach())
        )
        divergence = self.alpha * _kl(student, teacher) + self.beta * _kl(student_rest, teacher_rest)
        mean = divergence.where(labelled, 0.0).sum() / labelled.sum().clamp(min=1)
        return mean * self.temperature**2


def _decoupled(logits: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the true class and the rest ``B2DHW``, and of the others among each other.

    The rest is summed in the log, since 1 - p is zero in float32 for a sure network. At the true class the
    second result is zero for both networks, so that it adds nothing to a divergence.
    """
    target = (logits * true).sum(1)
    others = logits.masked_fill(true, -torch.inf)
    binary = torch.stack([target, others.logsumexp(1)], 1).log_softmax(1)
    return binary, others.log_softmax(1).masked_fill(true, 0.0)


def _kl(student: Tensor, teacher: Tensor) -> Tensor:
    return (teacher.exp() * (teacher - student)).sum(1)
