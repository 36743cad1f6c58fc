"""The decoupled contrastive loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dckd_ext.bank import References
from dckd_ext.losses.pairs import Pairs


class DecoupledContrastiveLoss(nn.Module):
    r"""Pulls student anchors to the teacher's vectors of their class and pushes them off the other classes'.

    From the abstract: tumour and non-tumour features are decoupled into positive and negative pairs, so that
    the student mimics the teacher's features of its own region. From Yeh et al., "Decoupled contrastive
    learning" (ECCV 2022): the positive is left out of the denominator. Our decisions: the split of the
    positive into the own voxel and other cases, the equal weight of classes, and the factor tau, which keeps
    the gradient on the scale of a segmentation loss.

    With cosine similarities, for an anchor a of class c and references :math:`Q_k` of class k:

    .. math::
        l(a) = \tau \log \frac{1}{|N|} \sum_{k \in N} \frac{1}{|Q_k|} \sum_{q \in Q_k} e^{a \cdot q / \tau}
               - \tfrac12 a \cdot own(a) - \tfrac12 \overline{a \cdot q}

    where N are the other classes that have references and the last mean is over references of class c from
    other cases. The loss is the mean over the anchors of a class, then over the present classes. It lies in
    [-2, 2]. Without an own vector or other cases the other positive counts alone, without both the anchor
    is skipped; without negatives l is minus the positive part.

    Args:
        temperature: tau.

    Raises:
        ValueError: when the temperature is not positive.

    Example:
        >>> a = torch.eye(2)
        >>> classes, cases, yes = torch.arange(2), torch.zeros(2).long(), torch.ones(2).bool()
        >>> pairs = Pairs(a, classes, cases, a, yes, References(a, classes, cases, yes, ~yes))
        >>> DecoupledContrastiveLoss()(pairs)
        tensor(-1.)
    """

    inputs = ("pairs",)

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"The temperature must be positive, got {temperature}.")
        self.temperature = temperature

    def forward(self, pairs: Pairs) -> Tensor:
        """The loss as a scalar, a zero attached to the graph where nothing can be compared."""
        positive, has_positive = _positive(pairs)
        class_losses = []
        for c in pairs.anchor_classes.unique():
            rows = (pairs.anchor_classes == c) & has_positive
            if rows.any():
                negative = self._negative(pairs.anchors[rows], pairs.references, c)
                class_losses.append((negative - positive[rows]).mean())
        return torch.stack(class_losses).mean() if class_losses else pairs.zero

    def _negative(self, anchors: Tensor, references: References, anchor_class: Tensor) -> Tensor:
        other = references.classes != anchor_class
        if not other.any():
            return anchors.new_zeros(len(anchors))
        classes, counts = references.classes[other].unique(return_inverse=True, return_counts=True)[1:]
        log_weight = -(counts[classes] * len(counts)).float().log()
        similarity = anchors @ references.features[other].T
        return self.temperature * (similarity / self.temperature + log_weight).logsumexp(1)


def _positive(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Similarity of each anchor to its positives, and whether it has any."""
    cross_mean, cross_valid = _cross_case_mean(pairs)
    target = torch.stack([pairs.own, cross_mean], 1)
    weight = torch.stack([pairs.own_valid, cross_valid], 1).to(target.dtype)
    target = (target * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)
    return (pairs.anchors * target).sum(1), pairs.own_valid | cross_valid


def _cross_case_mean(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Mean reference of the anchor's class in other cases, and whether there is any.

    The mean similarity equals the similarity to the mean, so one mean for each class and case will do.
    """
    references = pairs.references
    classes, class_index = pairs.anchor_classes.unique(return_inverse=True)
    cases, case_index = pairs.anchor_cases.unique(return_inverse=True)
    same_class = references.classes == classes[:, None, None]
    is_positive = same_class & (references.case_ids != cases[:, None])  # (classes, cases, Q)
    count = is_positive.sum(2, keepdim=True)
    mean = is_positive.to(references.features.dtype) @ references.features / count.clamp(min=1)
    return mean[class_index, case_index], count[class_index, case_index, 0] > 0
