"""Communication between ranks for a loss that lives outside the DDP-wrapped network."""

from __future__ import annotations

import torch
from monai.utils import evenly_divisible_all_gather
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from dckd_ext.losses.bank import References

__all__ = ["SynchronisedModule", "gather_references"]


class SynchronisedModule(nn.Module):
    """A trainable module of a loss whose gradients are averaged over all ranks.

    The wrapper of DDP is made at the first training step and kept out of parameters and state dict. Every
    rank has to run the module forward and backward at every training step, or the others wait for ever.

    Args:
        module: the module; in a single process it is simply called.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._parallel: tuple[DistributedDataParallel, ...] = ()  # a tuple hides it from nn.Module

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the module's output, with synchronised gradients when it trains on several ranks."""
        if not (self.training and torch.is_grad_enabled() and _world_size() > 1):
            return self.module(inputs)
        if not self._parallel:
            self._parallel = (DistributedDataParallel(self.module, broadcast_buffers=False),)
        return self._parallel[0](inputs)


def gather_references(local: References) -> References:
    """Gather all ranks' references in rank order, without gradient; ranks may bring different numbers."""
    if _world_size() == 1:
        return local
    numbers = torch.stack([column.long() for column in local[1:]], dim=1)
    features = evenly_divisible_all_gather(local.features, concat=True)
    classes, case_ids, interior, region = evenly_divisible_all_gather(numbers, concat=True).unbind(1)
    return References(features, classes, case_ids, interior.bool(), region.bool())


def _world_size() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
