"""The contrastive and the ranking term in three formulations of one value, for comparison.

- `sampled` is the package's own: a fixed number of anchors against the references.
- `metric_learning` is the same loss written with pytorch-metric-learning: a miner lists the indices of all
  positive and negative pairs of anchors and references, a loss reads them off the matrix of cosines, and a
  reducer takes the mean over anchors and classes. Time and memory are linear too.
- `all_pairs` is the vectorised contrast of pixels as supervised contrastive learning writes it: all vectors,
  of student and teacher, in one list; all cosines between them in one matrix; masks of the same size that say
  what is a positive and a negative of what. There is no list of anchors: rows that are not the student's are
  computed like the others and have no weight in the mean. Time and memory are quadratic. Whoever cuts these
  rows off before the product has left all-pairs for `metric_learning`.

The two others take it that every anchor has a negative, which the package does not need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import BaseMetricLossFunction
from pytorch_metric_learning.reducers import BaseReducer, MeanReducer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses import DecoupledContrastiveLoss, Pairs, RankingLoss
from dckd_ext.losses.bank import References

TEMPERATURE, MARGIN, GAMMA, ALPHA, RANKS = 0.1, 0.4, 10.0, 0.25, 16


def draw_pairs(
    references: int,
    anchors: int = 390,
    num_classes: int = 3,
    channels: int = 16,
    batch: int = 2,
    cases: int = 200,
    device: str = "cpu",
) -> Pairs:
    """Pairs as the sampler draws them: by default 64 cells and a region of 2 cases and 3 classes, at random.

    Anchors lean to their own vector, and vectors to the mean of their class, so that the terms have something
    to rank. Channels are those of the hippocampus teacher's tap.
    """
    generator = torch.Generator().manual_seed(references)

    def integers(rows: int, high: int) -> Tensor:
        return torch.randint(high, (rows,), generator=generator)

    def vectors(classes: Tensor) -> Tensor:
        means = torch.randn(num_classes, channels, generator=torch.Generator().manual_seed(0))
        noise = torch.randn(len(classes), channels, generator=generator)
        return F.normalize(means[classes] + noise, dim=1)

    classes, reference_classes = integers(anchors, num_classes), integers(references, num_classes)
    own = vectors(classes)
    drawn = F.normalize(own + 0.3 * torch.randn(anchors, channels, generator=generator), dim=1)
    return Pairs(
        anchors=drawn.to(device).requires_grad_(),
        anchor_classes=classes.to(device),
        anchor_cases=integers(anchors, batch).to(device),
        own=own.to(device),
        own_valid=(integers(anchors, 10) > 0).to(device),
        references=References(
            vectors(reference_classes).to(device),
            reference_classes.to(device),
            integers(references, cases).to(device),
            (integers(references, 10) > 2).to(device),
            (integers(references, 9) == 0).to(device),
        ),
    )


def sampled(pairs: Pairs) -> Tensor:
    """The package's own terms, added."""
    contrastive = DecoupledContrastiveLoss(TEMPERATURE)(pairs)
    return contrastive + RankingLoss(MARGIN, GAMMA, ALPHA, RANKS)(pairs)


def metric_learning(pairs: Pairs) -> Tensor:
    """The same with pytorch-metric-learning; the own vectors are the first references."""
    references = pairs.references
    vectors = torch.cat([pairs.own, references.features])
    labels = torch.cat([pairs.anchor_classes, references.classes])
    interior = torch.cat([torch.ones_like(pairs.own_valid), references.interior])
    contrastive = _PMLContrastive(reducer=_ClassMeanReducer())
    ranking = _PMLRanking(reducer=MeanReducer())
    given = (pairs.anchors, pairs.anchor_classes)
    total = contrastive(*given, _mine(pairs), vectors, labels)
    return total + ranking(*given, _mine(pairs, interior), vectors, labels)


def all_pairs(pairs: Pairs) -> Tensor:
    """The same over the matrix of all vectors: students' anchors, their own teachers', references."""
    anchors, references = len(pairs.anchors), pairs.references
    device = pairs.anchors.device
    vectors = torch.cat([pairs.anchors, pairs.own, references.features])
    classes = torch.cat([pairs.anchor_classes, pairs.anchor_classes, references.classes])
    cases = torch.cat([pairs.anchor_cases, pairs.anchor_cases, references.case_ids])
    is_anchor = torch.arange(len(vectors), device=device) < anchors
    is_reference = torch.arange(len(vectors), device=device) >= 2 * anchors
    interior = torch.cat([is_anchor[: 2 * anchors], references.interior])
    cosine = vectors @ vectors.T
    same = classes[:, None] == classes
    cross = same & (cases[:, None] != cases) & is_reference
    own = torch.zeros_like(same)
    own[:anchors, anchors : 2 * anchors] = pairs.own_valid.diag()
    negative = ~same & is_reference
    contrastive = _all_pairs_contrastive(cosine, own, cross, negative, classes, is_reference)
    ranking, ranked = _ranked(
        cosine.masked_fill(~(negative & interior), -torch.inf),
        cosine.masked_fill(~(own | (cross & interior)), torch.inf),
    )
    compared = is_anchor & (own | cross).any(1)
    return _mean_of_classes(contrastive[compared], classes[compared]) + ranking[is_anchor & ranked].mean()


FORMULATIONS: dict[str, Callable[[Pairs], Tensor]] = {
    "sampled": sampled,
    "metric_learning": metric_learning,
    "all_pairs": all_pairs,
}


def _all_pairs_contrastive(
    cosine: Tensor, own: Tensor, cross: Tensor, negative: Tensor, classes: Tensor, is_reference: Tensor
) -> Tensor:
    """The loss of every row; it counts where the row has a positive."""
    kinds = own.any(1).int() + cross.any(1)
    positive = (cross / cross.sum(1, keepdim=True).clamp(min=1)).add_(own)
    attraction = torch.einsum("ij,ij->i", cosine, positive) / kinds.clamp(min=1)
    counts = classes[is_reference].bincount(minlength=int(classes.max()) + 1)
    others = (counts > 0).sum() - (counts[classes] > 0).int()
    scores = (
        (cosine / TEMPERATURE).sub_(counts[classes].clamp(min=1).log()).masked_fill_(~negative, -torch.inf)
    )
    return TEMPERATURE * (scores.logsumexp(1) - others.log()) - attraction


def _ranked(negative: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """The ranking loss of each row, and whether it counts: cosines, infinite where there is no such pair."""
    k = min(RANKS, positive.shape[1])
    near, far = 1 - negative.topk(k).values, 1 - positive.topk(k, largest=False).values
    valid = near.isfinite() & far.isfinite()
    gap = MARGIN + far.masked_fill(~valid, 0.0) - near.masked_fill(~valid, 0.0)
    weight = valid * torch.exp(-ALPHA * torch.arange(k, device=near.device))
    losses = (weight * F.softplus(GAMMA * gap)).sum(1) / GAMMA / weight.sum(1).clamp(min=1)
    return losses, valid.any(1)


def _mean_of_classes(losses: Tensor, classes: Tensor) -> Tensor:
    return torch.stack([losses[classes == c].mean() for c in classes.unique()]).mean()


def _mine(pairs: Pairs, usable: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Indices as pytorch-metric-learning's miners give them: anchor and positive, anchor and negative."""
    references = pairs.references
    same = pairs.anchor_classes[:, None] == references.classes
    cross = same & (pairs.anchor_cases[:, None] != references.case_ids)
    positive = torch.cat([pairs.own_valid.diag(), cross], 1)
    negative = torch.cat([torch.zeros_like(pairs.own_valid.diag()), ~same], 1)
    if usable is not None:
        positive, negative = positive & usable, negative & usable
    return *torch.where(positive), *torch.where(negative)


class _PMLContrastive(BaseMetricLossFunction):
    """The decoupled contrastive loss; the first references are the anchors' own."""

    def compute_loss(
        self, embeddings: Tensor, labels: Tensor, pairs: Any, ref_emb: Tensor, ref_labels: Tensor
    ) -> dict[str, Any]:
        a1, p, a2, n = pairs
        cosine = self.distance(embeddings, ref_emb)
        rows = len(embeddings)
        is_own = p < rows
        own, cross = a1[is_own].bincount(minlength=rows), a1[~is_own].bincount(minlength=rows)
        kinds = (own > 0).int() + (cross > 0).int()
        weight = 1 / torch.where(is_own, own[a1], cross[a1]) / kinds[a1]
        attraction = torch.zeros_like(cosine[:, 0]).index_add(0, a1, weight * cosine[a1, p])

        counts = ref_labels[rows:].bincount(minlength=int(labels.max()) + 1)
        others = (counts > 0).sum() - (counts[labels] > 0).int()
        scores = torch.full_like(cosine, -torch.inf)
        scores[a2, n] = cosine[a2, n] / TEMPERATURE - counts[ref_labels[n]].log() - others[a2].log()
        repulsion = TEMPERATURE * scores.logsumexp(1)
        kept = (kinds > 0).nonzero()[:, 0]
        losses = (repulsion - attraction)[kept]
        return {"loss": {"losses": losses, "indices": kept, "reduction_type": "element"}}

    def get_default_distance(self) -> CosineSimilarity:
        return CosineSimilarity()


class _PMLRanking(BaseMetricLossFunction):
    """The ranking loss."""

    def compute_loss(
        self, embeddings: Tensor, labels: Tensor, pairs: Any, ref_emb: Tensor, ref_labels: Tensor
    ) -> dict[str, Any]:
        a1, p, a2, n = pairs
        cosine = self.distance(embeddings, ref_emb)
        far, near = torch.full_like(cosine, torch.inf), torch.full_like(cosine, -torch.inf)
        far[a1, p], near[a2, n] = cosine[a1, p], cosine[a2, n]
        losses, ranked = _ranked(near, far)
        kept = ranked.nonzero()[:, 0]
        return {"loss": {"losses": losses[kept], "indices": kept, "reduction_type": "element"}}

    def get_default_distance(self) -> CosineSimilarity:
        return CosineSimilarity()


class _ClassMeanReducer(BaseReducer):
    """The mean over the anchors of a class, then over classes."""

    def element_reduction(
        self, losses: Tensor, indices: Tensor, embeddings: Tensor, labels: Tensor
    ) -> Tensor:
        return _mean_of_classes(losses, labels[indices])
