"""The decoupled contrastive loss, and two older ones on the same pairs."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.bank import References
from dckd_ext.losses.pairs import Pairs

MODES = ("decoupled", "infonce", "c2am")


class DecoupledContrastiveLoss(nn.Module):
    r"""Pulls student anchors to the teacher's vectors of their class and pushes them off the other classes'.

    From the abstract: tumour and non-tumour features are decoupled into positive and negative pairs, so that
    the student mimics the teacher's features of its own region. From Yeh et al., "Decoupled contrastive
    learning" (ECCV 2022): the positive is left out of the denominator. Our decisions: the split of the
    positive into the own voxel and other cases, the equal weight of classes, and the factor tau, which keeps
    the gradient on the scale of a segmentation loss.

    With cosine similarities, for an anchor a of class c and references :math:`Q_k` of class k:

    .. math::
        l(a) = neg(a) - \tfrac12 a \cdot own(a) - \tfrac12 \overline{a \cdot q}, \qquad
        neg(a) = \tau \log \frac{1}{|N|} \sum_{k \in N} \frac{1}{|Q_k|} \sum_{q \in Q_k} e^{a \cdot q / \tau}

    where N are the other classes that have references and the last mean is over references of class c from
    other cases. The loss is the mean over the anchors of a class, then over the present classes. It lies in
    [-2, 2]. Without an own vector or other cases the other positive counts alone, without both the anchor
    is skipped; without negatives l is minus the positive part.

    The other modes are for comparison, on the same pairs and with the same weight of each class:

    - "infonce" (van den Oord et al., 2018; several positives after Wang et al., ICCV 2021) puts each positive
      p back into the denominator, with M negatives:
      :math:`l_p(a) = \tau \log(1 + e^{(neg(a) + \tau \log M - a \cdot p) / \tau})`. With one positive and
      two classes it is tau times InfoNCE. Without negatives it is zero.
    - "c2am" (Xie et al., "C2AM", CVPR 2022) needs no temperature: :math:`-\log s` over the positives,
      weighted by :math:`e^{-\alpha r}` for the r-th most alike (r = 0, 1, ...), plus :math:`-\log(1 - s)`
      over the negatives. References are regions alone; the own vector is one of the positives. Theirs takes
      the cosine, clamped to (0, 1), as s, where a positive of negative cosine would get no gradient, so here
      :math:`s = (1 + a \cdot q) / 2`; and the rank weights sum to 1, so that the size of the bank does not
      matter (both ours).

    Args:
        temperature: tau.
        mode: "decoupled", "infonce" or "c2am".
        alpha: decay of the weight with the rank, in mode "c2am".

    Raises:
        ValueError: when the temperature is not positive, or the mode is none of these.

    Example:
        >>> a = torch.eye(2)
        >>> classes, cases, yes = torch.arange(2), torch.zeros(2).long(), torch.ones(2).bool()
        >>> pairs = Pairs(a, classes, cases, a, yes, References(a, classes, cases, yes, ~yes))
        >>> DecoupledContrastiveLoss()(pairs)
        tensor(-1.)
    """

    inputs = ("pairs",)

    def __init__(self, temperature: float = 0.1, mode: str = "decoupled", alpha: float = 0.25) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"The temperature must be positive, got {temperature}.")
        if mode not in MODES:
            raise ValueError(f"Unknown mode {mode!r} of the contrastive loss: choose from {list(MODES)}.")
        self.temperature = temperature
        self.mode = mode
        self.alpha = alpha

    def forward(self, pairs: Pairs) -> Tensor:
        """The loss as a scalar, a zero attached to the graph where nothing can be compared."""
        references = pairs.references
        if self.mode == "c2am":
            references = references.select(references.region)
        anchor_loss = {"decoupled": self._decoupled, "infonce": self._infonce, "c2am": self._c2am}[self.mode]
        class_losses = []
        with torch.autocast(pairs.anchors.device.type, enabled=False):
            for c in pairs.anchor_classes.unique():
                similarities = _Similarities.of(pairs, references, c)
                if len(similarities.positive):
                    class_losses.append(anchor_loss(similarities).mean())
        return torch.stack(class_losses).mean() if class_losses else pairs.zero

    def _decoupled(self, s: _Similarities) -> Tensor:
        return self._negative(s) - (s.positive * s.positive_weight).sum(1)

    def _infonce(self, s: _Similarities) -> Tensor:
        if not s.negative.shape[1]:
            return 0.0 * s.positive.sum(1)
        negative = self._negative(s) / self.temperature + math.log(s.negative.shape[1])
        losses = F.softplus(negative[:, None] - s.positive / self.temperature)
        return self.temperature * (losses * s.positive_weight).sum(1)

    def _c2am(self, s: _Similarities) -> Tensor:
        is_positive = s.positive_weight > 0
        order = s.positive.where(is_positive, -torch.inf).argsort(1, descending=True)
        weight = is_positive * torch.exp(-self.alpha * order.argsort(1))
        attraction = -(_log_share(s.positive) * weight).sum(1) / weight.sum(1)
        return attraction - _log_share(-s.negative) @ s.negative_weight

    def _negative(self, s: _Similarities) -> Tensor:
        """Soft maximum over the negatives ``(A,)``, zero without any."""
        if not s.negative.shape[1]:
            return s.negative.sum(1)
        return self.temperature * (s.negative / self.temperature + s.negative_weight.log()).logsumexp(1)


class _Similarities(NamedTuple):
    """Cosines of the A anchors of a class that have a positive.

    Args:
        positive: to the own vector and the references of the class, ``(A, P)``.
        positive_weight: one half to the own vector and one to other cases in equal parts, or all to the one
            that there is; zero for what is no positive of an anchor, ``(A, P)``.
        negative: to the references of other classes, ``(A, Q)``.
        negative_weight: equal parts to each class and in it to each reference, ``(Q,)``.
    """

    positive: Tensor
    positive_weight: Tensor
    negative: Tensor
    negative_weight: Tensor

    @classmethod
    def of(cls, pairs: Pairs, references: References, anchor_class: Tensor) -> _Similarities:
        rows = pairs.anchor_classes == anchor_class
        same = references.classes == anchor_class
        own_valid = pairs.own_valid[rows, None]
        other_case = pairs.anchor_cases[rows, None] != references.case_ids[same]
        kinds = own_valid.int() + other_case.any(1, keepdim=True)
        kept = kinds[:, 0] > 0

        anchors = pairs.anchors[rows][kept]
        own = (anchors * pairs.own[rows][kept]).sum(1, keepdim=True)
        cross_share = other_case / other_case.sum(1, keepdim=True).clamp(min=1)
        return cls(
            positive=torch.cat([own, anchors @ references.features[same].T], 1),
            positive_weight=(torch.cat([own_valid, cross_share], 1) / kinds)[kept],
            negative=anchors @ references.features[~same].T,
            negative_weight=_balanced(references.classes[~same]),
        )


def _balanced(classes: Tensor) -> Tensor:
    """Weights that sum to 1: equal parts to each class, and in it to each row."""
    _, index, counts = classes.unique(return_inverse=True, return_counts=True)
    return 1 / (counts[index] * len(counts)).float()


def _log_share(cosine: Tensor) -> Tensor:
    """Log of (1 + cosine) / 2, where a pair at opposite ends is cut off at C2AM's 0.0005."""
    return ((1 + cosine) / 2).clamp(min=0.0005).log()
