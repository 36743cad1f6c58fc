"""Files of the two layouts: NRRD and tables of the open ABUS set, NIfTI and index of the MSD."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np

from dckd_ext.phantom.volume import Lesion
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.tables import write_table

__all__ = ["SYNTHETIC", "write_msd_index", "write_nifti", "write_nrrd", "write_tdsc_tables"]

SYNTHETIC = "synthetic, made by dckd phantom, no patient data"
_LABELS = ("case_id", "label", "data_path", "mask_path")
_BOXES = ("id", "c_x", "c_y", "c_z", "len_x", "len_y", "len_z")


def write_nrrd(path: Path, array: np.ndarray) -> None:
    """Write a gzip NRRD with ones for the spacing, as the open ABUS set has it; always the same bytes."""
    header = {
        "content": SYNTHETIC,
        "space": "left-posterior-superior",
        "space directions": np.eye(3),
        "space origin": np.zeros(3),
        "kinds": ["domain"] * 3,
        "encoding": "gzip",
    }
    with written_whole(path) as beside:
        nrrd.write(str(beside), array, header, compression_level=6)
        with open(beside, "r+b") as file:  # pynrrd notes the time in a comment
            start = file.read(200)
            file.seek(0)
            file.write(re.sub(rb"# on [-\d]+ [:\d]+", b"# on 1970-01-01 00:00:00", start))


def write_nifti(path: Path, array: np.ndarray, spacing: Sequence[float]) -> None:
    """Write a NIfTI with the spacing (mm) on the diagonal of its affine."""
    image = nib.Nifti1Image(array, np.diag([*spacing, 1.0]))
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = SYNTHETIC.encode()
    with written_whole(path) as beside:
        nib.save(image, beside)


def write_tdsc_tables(folder: Path, cases: Mapping[int, Sequence[Lesion]]) -> None:
    """Write ``labels.csv`` and ``bbx_labels.csv`` of one section, from the lesions of its cases by number."""
    labels: list[Sequence[object]] = []
    boxes: list[Sequence[object]] = []
    for number, lesions in cases.items():
        if lesions:
            kind = "M" if any(lesion.kind == "M" for lesion in lesions) else "B"
            labels.append((number, kind, rf"DATA\DATA_{number:03d}.nrrd", rf"MASK\MASK_{number:03d}.nrrd"))
            boxes.append((number, *_box(lesions)))
    for name, columns, rows in (("labels.csv", _LABELS, labels), ("bbx_labels.csv", _BOXES, boxes)):
        write_table(folder / name, columns, (dict(zip(columns, row, strict=True)) for row in rows))


def write_msd_index(folder: Path, files: Iterable[tuple[Path, Path]]) -> None:
    """Write ``dataset.json``, from the paths of each image and its mask."""
    training = [
        {key: f"./{path.relative_to(folder).as_posix()}" for key, path in (("image", image), ("label", mask))}
        for image, mask in files
    ]
    index = {
        "name": "synthetic ABUS phantoms",
        "description": f"Automated breast ultrasound with lesions; {SYNTHETIC}",
        "tensorImageSize": "3D",
        "modality": {"0": "ultrasound"},
        "labels": {"0": "background", "1": "lesion"},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
    }
    with written_whole(folder / "dataset.json") as beside:
        beside.write_text(json.dumps(index, indent=4), encoding="utf-8")


def _box(lesions: Sequence[Lesion]) -> list[float]:
    centres, sizes = np.array([lesion.centre for lesion in lesions]), np.array([x.size for x in lesions])
    low, high = (centres - (sizes - 1) / 2).min(0), (centres + (sizes - 1) / 2).max(0)
    return [*((low + high) / 2).tolist(), *(high - low + 1).astype(int).tolist()]
