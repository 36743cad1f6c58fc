"""Decoupled contrastive knowledge distillation for 3D medical image segmentation, on MONAI bundles.

Importing the package is cheap: torch and monai are loaded by the submodule that needs them. Bundles name
their parts by full import path (``dckd_ext.networks.HRNet3D``); `register` adds short names for those who
want them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"
__all__ = ["register"]

_SHORT_NAMES = {
    "HRNet3D": "dckd_ext.networks",
    "DecoupledContrastiveLoss": "dckd_ext.losses",
    "RankingLoss": "dckd_ext.losses",
    "LogitsDistillationLoss": "dckd_ext.losses",
    "DistillationLoss": "dckd_ext.losses",
    "AutocastInferer": "dckd_ext.inferers",
    "DistillationInferer": "dckd_ext.inferers",
}


def register() -> list[str]:
    """Make the extension's classes known to MONAI configs by short name (``_target_: HRNet3D``).

    MONAI's ``ComponentLocator`` finds only what is defined in loaded modules whose name starts with "monai",
    and has no plug-in hook. So a module of that kind is added, with a subclass of each class that says it is
    defined there (our decision).

    Returns:
        The names that were registered.

    Raises:
        ValueError: when MONAI itself has something of that name.
    """
    module = ModuleType("monai_dckd_ext", "Short names of dckd_ext for MONAI configs.")
    for name, home in _SHORT_NAMES.items():
        theirs = import_module(
            home.replace("dckd_ext.networks", "monai.networks.nets").replace("dckd_ext", "monai")
        )
        if hasattr(theirs, name):
            raise ValueError(f"cannot register {name}: {theirs.__name__} already has another {name}")
        ours = getattr(import_module(home), name)
        setattr(module, name, type(name, (ours,), {"__module__": module.__name__, "__doc__": ours.__doc__}))
    sys.modules[module.__name__] = module
    return list(_SHORT_NAMES)
