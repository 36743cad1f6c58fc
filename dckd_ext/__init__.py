"""Decoupled contrastive knowledge distillation for 3D medical image segmentation, on MONAI bundles.

Importing the package is cheap: torch and monai are loaded by the submodule that needs them. Bundles name
their parts by full import path (``dckd_ext.networks.HRNet3D``); `register` adds short names for those who
want them.
"""

from __future__ import annotations

from importlib import import_module

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

    MONAI's ``ComponentLocator`` looks only into MONAI's own modules and has no plug-in hook, so the classes
    are set as attributes of ``monai.networks.nets``, ``monai.losses`` and ``monai.inferers``. No bundle of
    this project depends on it (our decision).

    Returns:
        The names that were registered.

    Raises:
        ValueError: when MONAI already has another object of that name.
    """
    homes = {"networks": "monai.networks.nets", "losses": "monai.losses", "inferers": "monai.inferers"}
    for name, module in _SHORT_NAMES.items():
        home = import_module(homes[module.rpartition(".")[2]])
        ours = getattr(import_module(module), name)
        if getattr(home, name, ours) is not ours:
            raise ValueError(f"cannot register {name}: {home.__name__} already has another {name}")
        setattr(home, name, ours)
    return list(_SHORT_NAMES)
