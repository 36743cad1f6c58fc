"""Cross-image relational distillation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.maps import bounded, check_positive, matched, softened_divergence
from dckd_ext.losses.pairs import Pairs
from dckd_ext.losses.precision import in_float32

__all__ = ["CIRKDLoss"]


class CIRKDLoss(nn.Module):
    """Cross-image relations: the student ranks other places by likeness as the teacher does.

    After Yang et al., "Cross-image relational knowledge distillation for semantic segmentation" (CVPR 2022).
    A row of cosine similarities to the same references, divided by tau, becomes a distribution p by a
    softmax at temperature T, and the loss is the mean of ``T^2 KL(p^t || p^s)`` over rows. Three sums of
    such rows, weighted 1, 0.1 and 0.1 as in their code:

    - batch: each cell of a case against the cells of each case of the batch, in each network's own features;
    - memory of voxels: student anchors (projected) and the teacher at the same places, against voxel
      references of the batch and the bank;
    - memory of regions: the same against region references.

    Our decisions: anchors, references, bank and projector are those of the `PairSampler`, which the other
    terms use too, so that a comparison is of losses alone; it draws anchors of every class, regions among
    them. Anchors where the teacher is wrong are left out. The batch is compared on a grid of at most
    ``cells`` cells, where theirs compares all pixels.

    Args:
        batch_weight: weight of the relations in the batch.
        voxel_weight: weight of the relations to voxel references.
        region_weight: weight of the relations to region references.
        tau: by which similarities are divided.
        temperature: T of the distillation.
        cells: most cells of a case in the relations of the batch.

    Raises:
        ValueError: when a temperature or the number of cells is not positive, or a weight is negative.
    """

    inputs = ("features", "teacher_features", "pairs")

    def __init__(
        self,
        batch_weight: float = 1.0,
        voxel_weight: float = 0.1,
        region_weight: float = 0.1,
        tau: float = 0.1,
        temperature: float = 1.0,
        cells: int = 512,
    ) -> None:
        super().__init__()
        check_positive(tau=tau, temperature=temperature, cells=cells)
        if min(batch_weight, voxel_weight, region_weight) < 0:
            raise ValueError(
                f"Weights must not be negative, got {batch_weight}, {voxel_weight}, {region_weight}"
            )
        self.batch_weight = batch_weight
        self.voxel_weight = voxel_weight
        self.region_weight = region_weight
        self.tau = tau
        self.temperature = temperature
        self.cells = cells

    @in_float32
    def forward(self, features: Tensor, teacher_features: Tensor, pairs: Pairs) -> Tensor:
        """Return the loss as a scalar; memory with nothing to compare adds a zero attached to the graph.

        Args:
            features: the student's map, ``BCDHW``.
            teacher_features: the teacher's map, ``BCDHW``; channels and size may differ.
            pairs: anchors and references.
        """
        return (
            self.batch_weight * self._batch(features, teacher_features)
            + self.voxel_weight * self._memory(pairs, ~pairs.references.region)
            + self.region_weight * self._memory(pairs, pairs.references.region)
        )

    def _batch(self, features: Tensor, teacher_features: Tensor) -> Tensor:
        student, teacher = (
            F.normalize(bounded(volume, self.cells).flatten(2), dim=1)
            for volume in matched(features, teacher_features)
        )
        return self._divergence(_cross_image(student), _cross_image(teacher))

    def _memory(self, pairs: Pairs, rows: Tensor) -> Tensor:
        valid = pairs.own_valid
        if not (valid.any() and rows.any()):
            return pairs.zero
        references = pairs.references.features[rows]
        return self._divergence(pairs.anchors[valid] @ references.T, pairs.own[valid] @ references.T)

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean over all rows of the divergence between similarities ``(..., Q)``."""
        return softened_divergence(student / self.tau, teacher / self.tau, self.temperature, dim=-1)


def _cross_image(cells: Tensor) -> Tensor:
    """Similarities of the cells ``(B, C, N)`` of each case to those of each case, ``(B, B, N, N)``."""
    return torch.einsum("icn,jcm->ijnm", cells, cells)
