"""Losses that distil a teacher into a student."""

from dckd_ext.losses.bank import ReferenceBank, References
from dckd_ext.losses.composite import DistillationLoss, Term
from dckd_ext.losses.contrastive import DecoupledContrastiveLoss
from dckd_ext.losses.cwd import CWDLoss
from dckd_ext.losses.logits import LogitsDistillationLoss
from dckd_ext.losses.pairs import Pairs
from dckd_ext.losses.ranking import RankingLoss
from dckd_ext.losses.regions import RegionDistillationLoss, RegionLoss
from dckd_ext.losses.sampler import PairSampler

__all__ = [
    "CWDLoss",
    "DecoupledContrastiveLoss",
    "DistillationLoss",
    "LogitsDistillationLoss",
    "PairSampler",
    "Pairs",
    "RankingLoss",
    "ReferenceBank",
    "References",
    "RegionDistillationLoss",
    "RegionLoss",
    "Term",
]
