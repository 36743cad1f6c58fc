"""What a network's training volumes are like, measured into its bundle's metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from dckd_ext.data.volumes import is_volume
from dckd_ext.export import predict
from dckd_ext.export.settings import bundle_settings
from dckd_ext.utils.files import written_whole

__all__ = ["record_training_volumes"]


def record_training_volumes(bundle: str | PathLike[str], folder: str | PathLike[str]) -> dict[str, Any]:
    """Measure volumes as the network gets them, and write `known_volumes` into `configs/metadata.json`.

    Args:
        bundle: folder of a bundle with weights.
        folder: of the images that it was trained on, NIfTI or NRRD files, not of folders in it.

    Returns:
        Least and greatest of them: `extent`, mm, a pair an axis, `mean` and `deviation` of the intensities
        before they are normalised; rounded outward to a mm and to a hundredth.

    Raises:
        FileNotFoundError: when a folder, or the bundle's metadata or weights are missing.
        ValueError: when the folder holds no volumes, or one cannot be read; and as `bundle_settings`.
    """
    files = sorted(filter(is_volume, Path(folder).iterdir()))
    if not files:
        raise ValueError(f"{folder}: expected the volumes that the network was trained on, found none")
    settings = bundle_settings(bundle)
    rows = np.array([_row(file, settings) for file in files])
    low, high = rows.min(axis=0), rows.max(axis=0)
    known: dict[str, Any] = {"extent": [_pair(low[axis], high[axis], 1) for axis in range(3)]}
    if rows.shape[1] > 3:
        known |= {name: _pair(low[n], high[n], 100) for n, name in ((3, "mean"), (4, "deviation"))}
    file = Path(bundle).expanduser().resolve() / "configs" / "metadata.json"
    metadata = {**json.loads(file.read_text(encoding="utf-8")), "known_volumes": known}
    with written_whole(file) as beside:
        Path(beside).write_text(json.dumps(metadata, indent=4) + "\n", encoding="utf-8")
    return known


def _row(file: Path, settings: dict[str, Any]) -> list[float]:
    try:
        *_, extent, seen = predict.look(file, settings)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return [*extent, *seen.values()]


def _pair(low: float, high: float, parts: int) -> Sequence[float]:
    pair = [math.floor(low * parts + 1e-6) / parts, math.ceil(high * parts - 1e-6) / parts]
    return [int(number) for number in pair] if parts == 1 else pair
