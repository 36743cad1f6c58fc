"""Variants of DCKD's losses that keep the teacher as the target, for studies/dckd_variants.yaml.

None did better than the logits alone (docs/studies.md), so none is in the package. Run their study with this
folder on the path: PYTHONPATH=experiments dckd study experiments/studies/dckd_variants.yaml ...
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses import DecoupledContrastiveLoss, Pairs, PairSampler, RankingLoss
from dckd_ext.losses.contrastive import _Compared
from dckd_ext.losses.maps import channel_projector


class OwnVoxelContrastive(DecoupledContrastiveLoss):
    """The own voxel is the only positive; no case counts as another."""

    def forward(self, pairs: Pairs) -> Tensor:
        """Return the loss as a scalar."""
        references = pairs.references._replace(case_ids=torch.zeros_like(pairs.references.case_ids))
        return super().forward(
            pairs._replace(anchor_cases=torch.zeros_like(pairs.anchor_cases), references=references)
        )


class CappedContrastive(DecoupledContrastiveLoss):
    """An anchor costs nothing once its loss is that of the teacher's own vector."""

    def forward(self, pairs: Pairs) -> Tensor:
        """Return the loss as a scalar."""
        losses = []
        for c in pairs.anchor_classes.unique():
            ours = _rows(pairs, (pairs.anchor_classes == c) & pairs.own_valid)
            if len(ours.anchors):
                student, teacher = (
                    self._decoupled(_Compared.of(each, pairs.references, c))
                    for each in (ours, ours._replace(anchors=ours.own))
                )
                losses.append(F.relu(student - teacher).mean())
        return torch.stack(losses).mean() if losses else pairs.zero


class TeacherMarginRanking(RankingLoss):
    """The own voxel is the only positive, and the margin is what the teacher itself keeps, at most m."""

    def forward(self, pairs: Pairs) -> Tensor:
        """Return the loss as a scalar."""
        references = pairs.references.select(pairs.references.interior)
        losses = []
        for c in pairs.anchor_classes.unique():
            ours = _rows(pairs, (pairs.anchor_classes == c) & pairs.own_valid)
            negatives = references.features[references.classes != c].T
            ranks = min(self.k, negatives.shape[1])
            if not len(ours.anchors) or not ranks:
                continue
            student, teacher = (1 - (v @ negatives).topk(ranks).values for v in (ours.anchors, ours.own))
            own = 1 - (ours.anchors * ours.own).sum(1, keepdim=True)
            weight = torch.exp(-self.alpha * torch.arange(ranks, device=own.device))
            gap = teacher.clamp(max=self.margin) + own - student
            losses.append(F.softplus(self.gamma * gap) @ weight / weight.sum() / self.gamma)
        return torch.cat(losses).mean() if losses else pairs.zero


class LinearSampler(PairSampler):
    """The projector is the peers', one 1x1x1 convolution."""

    def __init__(
        self, num_classes: int, student_channels: int, teacher_channels: int, **settings: object
    ) -> None:
        super().__init__(num_classes, student_channels, teacher_channels, **settings)  # type: ignore[arg-type]
        self.projector = channel_projector(student_channels, teacher_channels)


def _rows(pairs: Pairs, mask: Tensor) -> Pairs:
    """Take the anchors of a mask, with the same references."""
    names = [name for name in Pairs._fields if name != "references"]
    return pairs._replace(**{name: getattr(pairs, name)[mask] for name in names})
