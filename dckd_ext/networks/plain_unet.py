"""nnU-Net's plain U-Net from MONAI's parts, and several networks as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.dynunet_block import UnetUpBlock
from monai.networks.nets import DynUNet
from torch import Tensor, nn

__all__ = ["MeanLogits", "PlainUNet"]


class PlainUNet(DynUNet):
    """MONAI's ``DynUNet`` with nnU-Net's kernels on the way up: those of the level that is reached.

    ``DynUNet`` takes those of the level below. The two differ where kernels do, which is so for anisotropic
    spacing. Arguments are those of ``DynUNet``.
    """

    def get_upsamples(self) -> nn.ModuleList:
        """Make the blocks of the decoder, the lowest first."""
        levels = range(len(self.strides) - 2, -1, -1)
        return nn.ModuleList(
            UnetUpBlock(
                self.spatial_dims,
                self.filters[level + 1],
                self.filters[level],
                kernel_size=self.kernel_size[level],
                stride=self.strides[level + 1],
                upsample_kernel_size=self.upsample_kernel_size[level],
                norm_name=self.norm_name,
                act_name=self.act_name,
                dropout=self.dropout,
                trans_bias=self.trans_bias,
            )
            for level in levels
        )


class MeanLogits(nn.Module):
    """Several networks as one that gives the mean of their logits, as nnU-Net's folds do.

    Args:
        members: networks with the same classes.

    Raises:
        ValueError: when there is none.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("expected at least one network")
        self.members = nn.ModuleList(members)

    @property
    def tapped(self) -> nn.Module:
        """The member whose features a tap records: the first."""
        return self.members[0]

    def forward(self, image: Tensor) -> Tensor:
        """Return logits ``BKDHW`` for an image ``BCDHW``."""
        return torch.stack([member(image) for member in self.members]).mean(0)
