"""The ranking loss, which mines hard negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.bank import References
from dckd_ext.losses.maps import check_positive
from dckd_ext.losses.pairs import Pairs
from dckd_ext.losses.precision import in_float32

__all__ = ["RankingLoss"]


class RankingLoss(nn.Module):
    """Keep the r-th hardest negative a margin farther from an anchor than the r-th hardest positive.

    From the abstract: a ranking loss, which ranks the distance metric in feature space, mines hard
    negatives. The formula is our decision: with cosine distances d = 1 - s, negatives in ascending order n_1,
    n_2, ... and positives in descending order p_1, p_2, ..., and k the smaller of ``k`` and the pairs that
    there are,

        l(a) = sum_{r=1..k} w_r 1/gamma softplus(gamma (m + p_r - n_r)),   w_r ~ exp(-alpha (r - 1))

    Positives are the own vector and the references of the class from other cases. References within one
    voxel of the true boundary are left out as likely false negatives. The loss is the mean over the anchors
    that have a positive and a negative.

    Args:
        margin: m, in cosine distance.
        gamma: sharpness of the softplus.
        alpha: decay of the weight with the rank.
        k: most ranks compared.

    Raises:
        ValueError: when gamma or k is not positive.
    """

    inputs = ("pairs",)

    def __init__(self, margin: float = 0.4, gamma: float = 10.0, alpha: float = 0.25, k: int = 16) -> None:
        super().__init__()
        check_positive(gamma=gamma, k=k)
        self.margin = margin
        self.gamma = gamma
        self.alpha = alpha
        self.k = k

    @in_float32
    def forward(self, pairs: Pairs) -> Tensor:
        """Return the loss as a scalar, a zero attached to the graph where nothing can be compared."""
        references = pairs.references.select(pairs.references.interior)
        losses = [self._class_losses(pairs, references, c) for c in pairs.anchor_classes.unique()]
        anchor_losses = torch.cat(losses) if losses else pairs.anchors[:0, 0]
        return anchor_losses.mean() if len(anchor_losses) else pairs.zero

    def _class_losses(self, pairs: Pairs, references: References, anchor_class: Tensor) -> Tensor:
        """Return the loss of each anchor of a class that has a positive and a negative."""
        rows = pairs.anchor_classes == anchor_class
        same_class = references.classes == anchor_class
        anchors = pairs.anchors[rows]
        same, other = (mask.nonzero().squeeze(1) for mask in (same_class, ~same_class))
        negative = anchors @ references.features[other].T
        own = (anchors * pairs.own[rows]).sum(1, keepdim=True)
        positive = torch.cat([own, anchors @ references.features[same].T], 1)
        other_case = pairs.anchor_cases[rows, None] != references.case_ids[same]
        is_positive = torch.cat([pairs.own_valid[rows, None], other_case], 1)

        ranks = min(self.k, negative.shape[1], positive.shape[1])
        nearest = 1 - negative.topk(ranks).values
        farthest = 1 - positive.where(is_positive, torch.inf).topk(ranks, largest=False).values
        valid = farthest.isfinite()
        gap = self.margin + farthest.masked_fill(~valid, 0.0) - nearest
        weight = valid * torch.exp(-self.alpha * torch.arange(ranks, device=valid.device))
        loss = (weight * F.softplus(self.gamma * gap)).sum(1) / self.gamma
        ranked = valid.any(1)
        return loss[ranked] / weight.sum(1)[ranked]
