"""Student anchors and the teacher references that they are compared with."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from dckd_ext.losses.bank import References

__all__ = ["Pairs"]


class Pairs(NamedTuple):
    """Anchors of the student and references of the teacher; all vectors are float32 of unit length.

    Attributes:
        anchors: projected student vectors with gradient, ``(A, C)``.
        anchor_classes: true class of each anchor, int64, ``(A,)``.
        anchor_cases: case of each anchor, int64, ``(A,)``.
        own: the teacher's vector of the same voxel or region, ``(A, C)``.
        own_valid: whether the teacher is right there, bool, ``(A,)``; elsewhere ``own`` must not be used.
        references: teacher vectors of the batch (of all ranks) and the bank.
    """

    anchors: Tensor
    anchor_classes: Tensor
    anchor_cases: Tensor
    own: Tensor
    own_valid: Tensor
    references: References

    @property
    def zero(self) -> Tensor:
        """A zero that is attached to the graph, so that DDP stays connected on a rank without anchors."""
        return self.anchors[:0].sum()
