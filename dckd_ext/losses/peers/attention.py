"""Attention transfer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.maps import matched
from dckd_ext.losses.precision import in_float32

__all__ = ["ATLoss"]


class ATLoss(nn.Module):
    """Attention transfer: the student attends to the same places as the teacher.

    After Zagoruyko and Komodakis, "Paying more attention to attention" (ICLR 2017), activation-based:

        L = 1/N sum_i (Q^s_i / |Q^s| - Q^t_i / |Q^t|)^2,   Q_i = sum_c F_{ci}^2

    the mean over the N cells as in their code, where a weight of 1000 makes up for it (classification). Q has
    one channel, so no projector is needed.

    Examples:
        >>> import torch
        >>> features = torch.rand(1, 4, 6, 6, 6)
        >>> ATLoss()(features, 2 * features)
        tensor(0.)
    """

    inputs = ("features", "teacher_features")

    @in_float32
    def forward(self, features: Tensor, teacher_features: Tensor) -> Tensor:
        """Return the loss as a scalar.

        Args:
            features: the student's map, ``BCDHW``.
            teacher_features: the teacher's map, ``BCDHW``; channels and size may differ.
        """
        student, teacher = matched(features, teacher_features)
        return F.mse_loss(_attention(student), _attention(teacher))


def _attention(features: Tensor) -> Tensor:
    return F.normalize(features.square().sum(1).flatten(1), dim=1)
