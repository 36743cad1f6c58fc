"""The decoupled contrastive loss, and two older ones on the same pairs."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.bank import References
from dckd_ext.losses.maps import check_positive
from dckd_ext.losses.pairs import Pairs
from dckd_ext.losses.precision import in_float32

__all__ = ["DecoupledContrastiveLoss"]

MODES = ("decoupled", "infonce", "c2am")


class DecoupledContrastiveLoss(nn.Module):
    """Pull student anchors to the teacher's vectors of their class, and push them off the other classes'.

    From the abstract: tumour and non-tumour features are decoupled into positive and negative pairs, so that
    the student mimics the teacher's features of its own region. From Yeh et al., "Decoupled contrastive
    learning" (ECCV 2022): the positive is left out of the denominator. Our decisions: the split of the
    positive into the own voxel and other cases, the equal weight of classes, and the factor tau, which keeps
    the gradient on the scale of a segmentation loss.

    With cosine similarities, for an anchor a of class c and references Q_k of class k:

        l(a)   = neg(a) - 1/2 a.own(a) - 1/2 mean_q(a.q)
        neg(a) = tau log(1/|N| sum_{k in N} 1/|Q_k| sum_{q in Q_k} exp(a.q / tau))

    where N are the other classes that have references and the last mean is over references of class c from
    other cases. The loss is the mean over the anchors of a class, then over the present classes. It lies in
    [-2, 2]. Without an own vector or other cases the other positive counts alone, without both the anchor
    is skipped; without negatives l is minus the positive part.

    The other modes are for comparison, on the same pairs and with the same weight of each class:

    - "infonce" (van den Oord et al., 2018; several positives after Wang et al., ICCV 2021) puts each positive
      p back into the denominator, with M negatives:
      ``l_p(a) = tau log(1 + exp((neg(a) + tau log M - a.p) / tau))``. With one positive and two classes it is
      tau times InfoNCE. Without negatives it is zero.
    - "c2am" (Xie et al., "C2AM", CVPR 2022) needs no temperature: ``-log s`` over the positives, weighted by
      ``exp(-alpha r)`` for the r-th most alike (r = 0, 1, ...), plus ``-log(1 - s)`` over the negatives.
      References are regions alone; the own vector is one of the positives. Theirs takes the cosine, clamped
      to (0, 1), as s, where a positive of negative cosine would get no gradient, so here
      ``s = (1 + a.q) / 2``; and the rank weights sum to 1, so that the size of the bank does not
      matter (both ours).

    Args:
        temperature: tau.
        mode: "decoupled", "infonce" or "c2am".
        alpha: decay of the weight with the rank, in mode "c2am".

    Raises:
        ValueError: when the temperature is not positive, or the mode is none of these.

    Examples:
        >>> a = torch.eye(2)
        >>> classes, cases, yes = torch.arange(2), torch.zeros(2).long(), torch.ones(2).bool()
        >>> pairs = Pairs(a, classes, cases, a, yes, References(a, classes, cases, yes, ~yes))
        >>> DecoupledContrastiveLoss()(pairs)
        tensor(-1.)
    """

    inputs = ("pairs",)

    def __init__(self, temperature: float = 0.1, mode: str = "decoupled", alpha: float = 0.25) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        if mode not in MODES:
            raise ValueError(f"Unknown mode {mode!r} of the contrastive loss: choose from {list(MODES)}")
        self.temperature = temperature
        self.mode = mode
        self.alpha = alpha

    @in_float32
    def forward(self, pairs: Pairs) -> Tensor:
        """Return the loss as a scalar, a zero attached to the graph where nothing can be compared."""
        references = pairs.references
        if self.mode == "c2am":
            references = references.select(references.region)
        anchor_loss = {"decoupled": self._decoupled, "infonce": self._infonce, "c2am": self._c2am}[self.mode]
        class_losses = []
        for c in pairs.anchor_classes.unique():
            compared = _Compared.of(pairs, references, c)
            if len(compared.anchors):
                class_losses.append(anchor_loss(compared).mean())
        return torch.stack(class_losses).mean() if class_losses else pairs.zero

    def _decoupled(self, x: _Compared) -> Tensor:
        # By the mean vector of each case in place of all cosines, which are many.
        cross = (x.anchors * (x.cross_share @ x.positives)[x.case]).sum(1)
        return self._negative(x) - x.own_weight * x.own - x.cross_weight * cross

    def _infonce(self, x: _Compared) -> Tensor:
        positive, weight = x.positive_cosines()
        if not len(x.negatives):
            return 0.0 * positive.sum(1)
        negative = self._negative(x) / self.temperature + math.log(len(x.negatives))
        losses = F.softplus(negative[:, None] - positive / self.temperature)
        return self.temperature * (losses * weight).sum(1)

    def _c2am(self, x: _Compared) -> Tensor:
        positive, positive_weight = x.positive_cosines()
        is_positive = positive_weight > 0
        order = positive.where(is_positive, -torch.inf).argsort(1, descending=True)
        weight = is_positive * torch.exp(-self.alpha * order.argsort(1))
        attraction = -(_log_share(positive) * weight).sum(1) / weight.sum(1)
        return attraction - _log_share(-x.anchors @ x.negatives.T) @ x.negative_weight

    def _negative(self, x: _Compared) -> Tensor:
        """Soft maximum over the negatives ``(A,)``, zero without any."""
        if not len(x.negatives):
            return 0.0 * x.own
        scaled = (x.anchors / self.temperature) @ x.negatives.T
        most = scaled.detach().amax(1)  # one product of all with their weights is faster than logsumexp
        return self.temperature * ((scaled - most[:, None]).exp_() @ x.negative_weight).log() + (
            self.temperature * most
        )


class _Compared(NamedTuple):
    """The A anchors of a class that have a positive, and what they are compared with.

    Their positives depend on their case alone, but for the own vector, so what is large is kept by case.

    Args:
        anchors: vectors, ``(A, C)``.
        own: cosine to the own vector, ``(A,)``.
        own_weight: one half, 1 without other cases, or 0 where the teacher is wrong, ``(A,)``.
        cross_weight: what is left of 1 for the references of other cases, ``(A,)``.
        case: row of the anchor's case in ``cross_share``, ``(A,)``.
        cross_share: equal parts to each reference of other cases, ``(cases, P)``.
        positives: references of the class, ``(P, C)``.
        negatives: references of other classes, ``(Q, C)``.
        negative_weight: equal parts to each class and in it to each reference, ``(Q,)``.
    """

    anchors: Tensor
    own: Tensor
    own_weight: Tensor
    cross_weight: Tensor
    case: Tensor
    cross_share: Tensor
    positives: Tensor
    negatives: Tensor
    negative_weight: Tensor

    @classmethod
    def of(cls, pairs: Pairs, references: References, anchor_class: Tensor) -> _Compared:
        same_class = references.classes == anchor_class
        same, other = (mask.nonzero().squeeze(1) for mask in (same_class, ~same_class))
        cases, case = pairs.anchor_cases.unique(return_inverse=True)
        other_case = cases[:, None] != references.case_ids[same]
        has_cross = other_case.any(1)[case]
        kept = (pairs.anchor_classes == anchor_class) & (pairs.own_valid | has_cross)

        anchors, own_valid, has_cross = pairs.anchors[kept], pairs.own_valid[kept], has_cross[kept]
        kinds = own_valid.int() + has_cross
        return cls(
            anchors=anchors,
            own=(anchors * pairs.own[kept]).sum(1),
            own_weight=own_valid / kinds,
            cross_weight=has_cross / kinds,
            case=case[kept],
            cross_share=other_case / other_case.sum(1, keepdim=True).clamp(min=1),
            positives=references.features[same],
            negatives=references.features[other],
            negative_weight=_balanced(references.classes[other]),
        )

    def positive_cosines(self) -> tuple[Tensor, Tensor]:
        """Cosines to the own vector and the references of the class, and their weights, ``(A, 1 + P)``."""
        cosines = torch.cat([self.own[:, None], self.anchors @ self.positives.T], 1)
        cross_weight = self.cross_weight[:, None] * self.cross_share[self.case]
        return cosines, torch.cat([self.own_weight[:, None], cross_weight], 1)


def _balanced(classes: Tensor) -> Tensor:
    """Weights that sum to 1: equal parts to each class, and in it to each row."""
    counts = classes.bincount()
    return 1 / (counts[classes] * (counts > 0).sum()).float()


def _log_share(cosine: Tensor) -> Tensor:
    """Log of (1 + cosine) / 2, where a pair at opposite ends is cut off at C2AM's 0.0005."""
    return ((1 + cosine) / 2).clamp(min=0.0005).log()
