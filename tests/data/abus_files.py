"""A few small volumes in the layout of the open ABUS set, with its shards, paths and headers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nrrd
import numpy as np

SHAPE = (12, 10, 8)
PLACEHOLDER = {
    "space": "left-posterior-superior",
    "space directions": np.eye(3),
    "space origin": np.zeros(3),
    "encoding": "gzip",
}


def write_nrrd(path: Path, array: np.ndarray, **header) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), array, {**PLACEHOLDER, **header})
    return path


def lesion(number: int) -> np.ndarray:
    """A box of 3 x 4 x 2 voxels that moves with the number."""
    mask = np.zeros(SHAPE, np.uint8)
    start = number % 5
    mask[start : start + 3, 2:6, 1:3] = 1
    return mask


def write_abus(folder: Path, sections: dict[str, Sequence[int]], shard: str = "") -> Path:
    """Write ``{"Train": [0, 1]}``: odd numbers are malignant; ids are floats, paths have backslashes."""
    for section, numbers in sections.items():
        labels = ["case_id,label,data_path,mask_path"]
        boxes = ["id,c_x,c_y,c_z,len_x,len_y,len_z"]
        for number in numbers:
            image = np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8)
            name = f"{number:03d}.nrrd"
            write_nrrd(folder / section / f"DATA{shard}" / f"DATA_{name}", image)
            write_nrrd(folder / section / f"MASK{shard}" / f"MASK_{name}", lesion(number))
            kind = "M" if number % 2 else "B"
            labels.append(f"{float(number)},{kind},DATA{shard}\\DATA_{name},MASK{shard}\\MASK_{name}")
            boxes.append(f"{number},{number % 5 + 1.0},3.5,1.5,3,4,2")
        (folder / section / "labels.csv").write_text("\n".join(labels) + "\n")
        (folder / section / "bbx_labels.csv").write_text("\n".join(boxes) + "\n")
    return folder
