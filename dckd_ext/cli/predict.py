"""`dckd predict BUNDLE IN... --out DIR`: segment volumes with an exported network, without torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from dckd_ext.cli.values import Integer

__all__ = ["predict"]


def predict(
    model: str,
    *inputs: str,
    out: str,
    threads: Integer = 0,
    overlap: float | None = None,
    max_voxels: Integer | None = None,
    existing: Literal["refuse", "skip", "replace"] = "refuse",
    runtime: Literal["auto", "onnxruntime", "openvino"] = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    series: str | None = None,
    nifti: bool = False,
    max_memory: float | None = None,
) -> None:
    """Segment volumes; a case that fails does not stop the others.

    Args:
        model: folder of a bundle with `models/model.onnx` (see `dckd export`), or such a file.
        inputs: NIfTI or NRRD files, folders of them, or folders and zips of DICOM series.
        out: folder that gets one CASE_seg.nii.gz a volume, and one CASE_seg.dcm (DICOM SEG) a series.
        threads: of the network; 0 is one a core.
        overlap: of neighbouring windows, from 0 to below 1; by default the bundle's.
        max_voxels: the most that a volume is resampled to; by default the bundle's, or what the memory holds.
        existing: where a mask is there already: refuse to begin, skip the volume, or replace the mask.
        runtime: of the network; auto is OpenVINO where it is installed, else ONNX Runtime.
        precision: of the network; bfloat16 with OpenVINO alone.
        series: which of several DICOM series: number, UID, name or description, * and ? as in file names.
        nifti: write the masks of DICOM series as NIfTI too.
        max_memory: GB that the process may have: windows become smaller, or a volume is refused.

    Raises:
        FileNotFoundError: when an input or the network is missing.
        ValueError: when there is nothing to segment, masks are there already, or the network is unfit.
        OSError: when the folder cannot be written to, or another process has it.
        SystemExit: with code 1 when cases failed.
    """
    if threads:  # numpy's library reads it once
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from dckd_ext.export import predict as exported

    path = Path(model)
    if not path.exists():
        raise FileNotFoundError(f"{model}: there is no such bundle or network")
    if not inputs:
        raise ValueError("Name at least one volume or folder: dckd predict BUNDLE IN... --out DIR")
    file = path / "models" / "model.onnx" if path.is_dir() else path
    if exported.predict(
        *(inputs, out, file, threads, overlap, max_voxels),
        *(existing, runtime, precision, series, nifti, max_memory),
    ):
        sys.exit(1)
