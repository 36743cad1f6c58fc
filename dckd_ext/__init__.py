"""Decoupled contrastive knowledge distillation for 3D medical image segmentation, on MONAI bundles.

Importing the package is cheap: a room, and torch and monai with it, is loaded when it is used first. Bundles
name their parts by full import path (``dckd_ext.networks.HRNet3D``).

Examples:
    >>> import dckd_ext
    >>> dckd_ext.losses.RankingLoss.__name__
    'RankingLoss'
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dckd_ext import (
        bundle,
        data,
        distribution,
        engines,
        export,
        handlers,
        inferers,
        lint,
        losses,
        metrics,
        networks,
        nnunet,
        phantom,
        report,
        study,
        teachers,
        transforms,
    )

__version__ = "0.1.0"
__all__ = [
    "bundle",
    "data",
    "distribution",
    "engines",
    "export",
    "handlers",
    "inferers",
    "lint",
    "losses",
    "metrics",
    "networks",
    "nnunet",
    "phantom",
    "report",
    "study",
    "teachers",
    "transforms",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
