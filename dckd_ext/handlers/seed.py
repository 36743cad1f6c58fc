"""Randomness as a function of seed, epoch and rank."""

from __future__ import annotations

import random

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from torch.utils.data import DataLoader

__all__ = ["EpochSeed"]


class EpochSeed:
    """Seed every generator anew at the start of each epoch: exact resuming needs no stored state.

    Ignite makes the loader's iterator after ``EPOCH_STARTED``; loader workers take their seed from torch's
    generator at that moment. Without workers the transforms live in this process and are seeded here.

    Args:
        seed: seed of the run.
        loader: the training data loader.
    """

    def __init__(self, seed: int, loader: DataLoader) -> None:
        self.seed = seed
        self.loader = loader
        if loader.num_workers and loader.persistent_workers:
            raise ValueError("persistent_workers=True keeps random states across epochs; expected False")

    def attach(self, engine: Engine) -> None:
        """Register at ``EPOCH_STARTED``."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed by the engine's epoch and rank."""
        rank = getattr(engine.state, "rank", 0)
        seed = int(np.random.SeedSequence([self.seed, engine.state.epoch, rank]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        if self.loader.num_workers == 0:
            set_rnd(self.loader.dataset, seed)
