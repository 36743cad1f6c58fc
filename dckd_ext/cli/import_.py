"""`dckd import nnunet DIR --out BUNDLE`: networks of other tools as bundles."""

from __future__ import annotations

from typing import Literal

from dckd_ext.cli.values import Texts

__all__ = ["import_"]


def import_(tool: Literal["nnunet"], folder: str, *, out: str, folds: Texts | None = None) -> None:
    """Write a trained nnU-Net as a MONAI bundle that segments as nnU-Net does, without mirroring.

    The bundle has nnU-Net's preprocessing, window and weights. It teaches and segments without nnU-Net.
    Nothing
    of the folder is run.

    Args:
        tool: which tool the folder is of: nnunet, version 2.
        folder: its results folder TRAINER__PLANS__CONFIGURATION, with plans.json, dataset.json and
            fold_0, ...
        out: folder of the bundle, a new one.
        folds: one fold, or a list whose logits are averaged; by default all that have weights.

    Raises:
        FileNotFoundError: if the folder or its weights are missing.
        ValueError: for what cannot be taken over; see `dckd_ext.nnunet.write_bundle`.
    """
    from dckd_ext.nnunet import write_bundle

    for file in write_bundle(folder, out, None if folds is None else list(folds)):
        print(f"{file}  {file.stat().st_size / 2**20:.2f} MB")
