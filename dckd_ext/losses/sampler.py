"""Draws student anchors and teacher references from a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.bank import ReferenceBank, References
from dckd_ext.losses.cells import Cells, common_grid, pool, voxels
from dckd_ext.losses.distributed import SynchronisedModule, gather_references
from dckd_ext.losses.drawing import draw, draw_half_hard
from dckd_ext.losses.maps import pairs_of_taps
from dckd_ext.losses.pairs import Pairs
from dckd_ext.losses.precision import in_float32

__all__ = ["PairSampler"]


class PairSampler(nn.Module):
    """Draws pairs from the features of student and teacher, projecting the student's.

    Per case and present class: up to ``anchors_per_class`` student voxels, half of them mispredicted (after
    Wang et al., ICCV 2021), and one region, the mean over the class. References are voxels and regions where
    the teacher is right. The unprojected teacher, the projector's shape and the bank follow CIRKD (Yang et
    al., CVPR 2022), here with instance norm. The abstract speaks of tumour and non-tumour features only: how
    voxels are drawn, pooling by area, purity, numbers and regions are our decisions. Of several taps, with
    lists of channels, each has a sampler of its own, and `forward` gives a list.

    Args:
        num_classes: classes, the background included.
        student_channels: channels of the student's features, or a list.
        teacher_channels: channels of the teacher's features, or a list.
        bank: references of earlier steps, or None to use the batch alone. It grows in training mode only.
        anchors_per_class: voxel anchors of each case and class, at most.
        references_per_class: voxel references of each case and class, at most.
        grid_stride: voxels of the label along the edge of a grid cell. A coarser feature map sets the grid.
        anchor_purity: share of a cell that its class must fill to give an anchor.
        reference_purity: the same for a reference.

    Raises:
        ValueError: when the bank's classes or channels differ from these, or a purity is not in (0, 1].
    """

    def __init__(
        self,
        num_classes: int,
        student_channels: int | Sequence[int],
        teacher_channels: int | Sequence[int],
        bank: ReferenceBank | None = None,
        anchors_per_class: int = 64,
        references_per_class: int = 16,
        grid_stride: int = 2,
        anchor_purity: float = 0.5,
        reference_purity: float = 0.9,
    ) -> None:
        super().__init__()
        self.taps = nn.ModuleList()
        if isinstance(student_channels, Sequence) or isinstance(teacher_channels, Sequence):
            settings: Any = (
                anchors_per_class,
                references_per_class,
                grid_stride,
                anchor_purity,
                reference_purity,
            )
            for index, pair in enumerate(pairs_of_taps(student_channels, teacher_channels)):
                own: Any = None if bank is None else bank.taps[index]
                self.taps.append(type(self)(num_classes, *pair, own, *settings))
            return
        if bank is not None and (bank.num_classes, bank.channels) != (num_classes, teacher_channels):
            raise ValueError(
                f"The bank holds {bank.num_classes} classes of {bank.channels} channels, "
                f"but the sampler needs {num_classes} classes of {teacher_channels} channels"
            )
        if not (0 < anchor_purity <= 1 and 0 < reference_purity <= 1):
            raise ValueError(f"Purities must be in (0, 1], got {anchor_purity} and {reference_purity}")
        self.num_classes = num_classes
        self.projector = SynchronisedModule(
            nn.Sequential(
                nn.Conv3d(student_channels, teacher_channels, 1, bias=False),
                nn.InstanceNorm3d(teacher_channels, affine=True),
                nn.ReLU(inplace=True),
                nn.Conv3d(teacher_channels, teacher_channels, 1),
            )
        )
        self.bank = bank
        self.anchors_per_class = anchors_per_class
        self.references_per_class = references_per_class
        self.grid_stride = grid_stride
        self.anchor_purity = anchor_purity
        self.reference_purity = reference_purity

    @in_float32
    def forward(self, output: Any, label: Tensor) -> Pairs | list[Pairs]:
        """Draw the pairs of one step and each tap, and store the batch's references in training.

        Args:
            output: a `DistillationOutput`: logits and features of both networks, ``BCDHW``.
            label: class of each voxel, ``B1DHW``; a value outside the classes is ignored.

        Raises:
            ValueError: when the output has no features, or logits and classes disagree.
        """
        if self.taps:
            maps = zip(self.taps, output.features, output.teacher_features, strict=True)
            return [each(output._replace(features=f, teacher_features=t), label) for each, f, t in maps]
        features, teacher_features = self._features(output)
        grid = common_grid(label, self.grid_stride, features, teacher_features)
        student = voxels(self.projector(pool(features, grid)))
        with torch.no_grad():
            teacher = voxels(pool(teacher_features, grid))
            cells = Cells.of(label, output.logits, output.teacher_logits, grid)
        return self._pairs(student, teacher, cells, output.case_ids)

    def _features(self, output: Any) -> tuple[Tensor, Tensor]:
        if output.features is None or output.teacher_features is None:
            missing = "student_tap" if output.features is None else "teacher_tap"
            raise ValueError(
                f"Pairs need features of both networks: set {missing} of the DistillationInferer"
            )
        for name, logits in (("student", output.logits), ("teacher", output.teacher_logits)):
            if logits.shape[1] != self.num_classes:
                raise ValueError(
                    f"The {name}'s logits have {logits.shape[1]} channels for {self.num_classes} classes"
                )
        return output.features, output.teacher_features

    def _pairs(self, student: Tensor, teacher: Tensor, cells: Cells, case_ids: Tensor) -> Pairs:
        anchor = cells.share >= self.anchor_purity
        region = anchor & cells.teacher_right
        student, teacher = _append_regions(student, anchor), _append_regions(teacher, region)
        batch = self._references(teacher, region, cells, case_ids)

        case, anchor_class, position = _rows(
            *draw_half_hard(anchor, ~cells.student_right, self.anchors_per_class), anchor
        )
        own_valid = torch.cat([cells.teacher_right, torch.diag_embed(region.any(-1))], -1)
        pairs = Pairs(
            anchors=F.normalize(student[case, position], dim=1),
            anchor_classes=anchor_class,
            anchor_cases=case_ids[case],
            own=F.normalize(teacher[case, position], dim=1),
            own_valid=own_valid[case, anchor_class, position],
            references=batch if self.bank is None else References.join(batch, self.bank.references()),
        )
        if self.training and self.bank is not None:
            self.bank.enqueue(batch)
        return pairs

    def _references(self, teacher: Tensor, region: Tensor, cells: Cells, case_ids: Tensor) -> References:
        pure = (cells.share >= self.reference_purity) & cells.teacher_right
        case, classes, position = _rows(*draw(pure, self.references_per_class), region)
        num_cells = region.shape[-1]
        is_region = position >= num_cells
        interior = cells.interior[case, position.clamp(max=num_cells - 1)] | is_region
        vectors = F.normalize(teacher[case, position], dim=1)
        local = References(vectors, classes, case_ids[case], interior, is_region)
        return gather_references(local) if self.training else local


def _append_regions(vectors: Tensor, mask: Tensor) -> Tensor:
    """Vectors ``(B, N, C)`` and below them the mean over each of K masks ``(B, K, N)``."""
    mean = mask.float() @ vectors / mask.sum(-1, keepdim=True).clamp(min=1)
    return torch.cat([vectors, mean], dim=1)


def _rows(positions: Tensor, valid: Tensor, region: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Case, class and position of each valid draw ``(B, K, n)`` and of each region that is not empty."""
    batch, num_classes, num_cells = region.shape
    regions = torch.arange(num_cells, num_cells + num_classes, device=region.device).view(1, -1, 1)
    positions = torch.cat([positions, regions.expand(batch, -1, -1)], dim=-1)
    valid = torch.cat([valid, region.any(-1, keepdim=True)], dim=-1)
    case, classes, _ = valid.nonzero(as_tuple=True)
    return case, classes, positions[valid]
