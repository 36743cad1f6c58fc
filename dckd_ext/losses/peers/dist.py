"""Distillation of relations, for teachers much stronger than their students."""

from __future__ import annotations

from torch import Tensor, nn

from dckd_ext.losses.maps import check_logits, check_positive
from dckd_ext.losses.precision import in_float32

__all__ = ["DISTLoss"]

_EPSILON = 1e-8


class DISTLoss(nn.Module):
    """Follow the teacher's relations between classes and between places, not its probabilities.

    After Huang et al., "Knowledge distillation from a stronger teacher" (NeurIPS 2022), for dense prediction.
    With probabilities p softened by T and Pearson's correlation rho,

        L = T^2 (beta 1/N sum_i (1 - rho(p^s_i., p^t_i.)) + gamma 1/K sum_k (1 - rho(p^s_.k, p^t_.k)))

    first over the classes at each voxel i, then over the voxels for each class k. Our decision: the second
    correlation is taken within each case and averaged over the cases, since a batch holds few.

    Args:
        beta: weight of the relations between classes.
        gamma: weight of the relations between places.
        temperature: T.

    Raises:
        ValueError: when the temperature is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.rand(1, 3, 4, 4, 4)
        >>> DISTLoss()(logits, logits).abs() < 1e-5
        tensor(True)
    """

    inputs = ("logits", "teacher_logits")

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature

    @in_float32
    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the loss as a scalar.

        Args:
            logits: the student's, ``BKDHW``.
            teacher_logits: the teacher's, ``BKDHW``.

        Raises:
            ValueError: when the shapes differ, or there are fewer than two classes.
        """
        check_logits(logits, teacher_logits, least=2)
        student, teacher = (
            (volume / self.temperature).softmax(1).flatten(2) for volume in (logits, teacher_logits.detach())
        )
        between_classes = 1 - _correlation(student, teacher, dim=1).mean()
        between_places = 1 - _correlation(student, teacher, dim=2).mean()
        return self.temperature**2 * (self.beta * between_classes + self.gamma * between_places)


def _correlation(one: Tensor, other: Tensor, dim: int) -> Tensor:
    """Pearson's correlation along ``dim``; zero where one of them is constant."""
    one, other = (values - values.mean(dim, keepdim=True) for values in (one, other))
    norms = one.norm(dim=dim) * other.norm(dim=dim)
    return (one * other).sum(dim) / norms.clamp(min=_EPSILON)
