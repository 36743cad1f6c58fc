"""Segment volumes with an exported network, by numpy, nibabel and openvino or onnxruntime, without torch.

    python predict.py IN... --out DIR

IN are NIfTI or NRRD files (NRRD needs pynrrd too), folders of them, or folders and zips of DICOM series
(which need pydicom and highdicom); DIR gets one CASE_seg.nii.gz a volume, in the geometry of its image, or
CASE_seg.dcm, a DICOM SEG. `dckd export` writes this file beside the network, whose file holds the settings
of the bundle's inference config; there it stands alone, with the modules of dckd_ext that it needs in the
place of their imports. Volumes are treated as MONAI's transforms do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from dckd_ext.data.dicom_files import dicom_package
from dckd_ext.data.dicom_seg import write_segmentation
from dckd_ext.data.dicom_series import series_at
from dckd_ext.data.grids import (
    Grid,
    check_resampling,
    places,
    resample_back,
    same_grid,
    slabs,
    voxel_edges,
)
from dckd_ext.data.images import image_paths, read_image
from dckd_ext.data.naming import case_names
from dckd_ext.data.volumes import (
    ENDINGS,
    Volume,
    channels_first,
    constant_note,
    count_not_finite,
    is_volume,
    mask_image,
    warn_of,
)
from dckd_ext.export.after import AFTER, finish
from dckd_ext.export.intensities import (
    crop_foreground,
    normalize_channels,
    scale,
    scale_range,
    spatial_pad,
)
from dckd_ext.export.known import far_notes, intensities
from dckd_ext.export.memory import fitting_window, peak_bytes, resident_bytes
from dckd_ext.export.pipeline import Progress, in_line
from dckd_ext.export.runtimes import PRECISIONS, RUNTIMES, Network, load_network, onnx_metadata
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.folders import claimed

__all__ = [
    "EXISTING",
    "FORMAT",
    "FORMAT_AFTER",
    "KEY",
    "load_model",
    "look",
    "main",
    "predict",
    "prepare",
    "read_settings",
    "segment",
    "weights_hash",
]

KEY = "dckd"
"""Of the settings (JSON) among the metadata of the ONNX file."""
FORMAT = 1
"""Of the settings. It implies windows blended by a Gaussian of 1/8 of their edges, and repeated edges."""
FORMAT_AFTER = 2
"""Of settings that say how windows are blended and what comes after the network."""
EXISTING = ("refuse", "skip", "replace")
"""What can be done where a mask is there already."""

Array = np.ndarray
Undo = Callable[..., Array]  # of a mask, or with linear=True of one channel of numbers

_AFFINE_TOLERANCE = 1e-3  # MONAI's: edges that agree so far are the same


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit code."""
    parser = argparse.ArgumentParser(description="Segment volumes with an exported network.")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help=f"a file or folder of {', '.join(ENDINGS)}, or a folder or zip of DICOM series",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="gets one CASE_seg.nii.gz a volume, or CASE_seg.dcm"
    )
    beside = Path(__file__).resolve().parent / "models" / "model.onnx"
    parser.add_argument(
        "--model", default=beside, metavar="FILE", help="default: models/model.onnx beside this"
    )
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: one a core")
    parser.add_argument("--overlap", type=float, metavar="X", help="of windows; default: the bundle's")
    parser.add_argument("--max_voxels", type=int, metavar="N", help="that a volume is resampled to, at most")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="auto: OpenVINO if installed")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="bfloat16: OpenVINO only")
    parser.add_argument(
        "--max_memory", type=float, metavar="GB", help="windows become smaller, or a volume is refused"
    )
    parser.add_argument("--existing", choices=EXISTING, default="refuse", help="masks that are there already")
    parser.add_argument(
        "--series",
        metavar="X",
        help="which of several DICOM series: number, UID or description, with * and ?",
    )
    parser.add_argument("--nifti", action="store_true", help="masks of DICOM series as CASE_seg.nii.gz too")
    options = parser.parse_args(arguments)
    try:
        failed = predict(
            *(options.inputs, options.out, options.model),
            *(options.threads, options.overlap, options.max_voxels, options.existing),
            *(options.runtime, options.precision),
            *(options.series, options.nifti, options.max_memory),
        )
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"predict: interrupted: {interrupt}", file=sys.stderr)
        return 130
    return 1 if failed else 0


def predict(
    inputs: Sequence[str | Path],
    out: str | Path,
    model: str | Path,
    threads: int = 0,
    overlap: float | None = None,
    max_voxels: int | None = None,
    existing: str = "refuse",
    runtime: str = "auto",
    precision: str = "float32",
    series: str | None = None,
    nifti: bool = False,
    max_memory: float | None = None,
) -> dict[str, str]:
    """Segment files one after another; go on after one that fails.

    Args:
        inputs: files, folders of files, or folders and zips of DICOM series.
        out: folder of the masks, one CASE_seg.nii.gz a volume, uint8, and one CASE_seg.dcm a DICOM series.
        model: ONNX file that `dckd export` wrote.
        threads: of the network; 0 is one a core.
        overlap: of neighbouring windows, from 0 to below 1; by default the bundle's.
        max_voxels: the most that a volume is resampled to; by default the bundle's, or what the memory holds.
        existing: where a mask is there already: "refuse" to begin, "skip" the volume, or "replace" the mask.
        runtime: "onnxruntime", "openvino", or "auto", which is OpenVINO where it is installed.
        precision: "float32", or with OpenVINO "bfloat16".
        series: which of several DICOM series, see `dckd_ext.data.dicom_series.choose_series`.
        nifti: write the masks of DICOM series as NIfTI too.
        max_memory: GB that the process may have; windows become smaller, or a volume is refused.

    Returns:
        The error of every input that failed; they are printed too.

    Raises:
        FileNotFoundError: when an input or the model is missing; nothing is done then, nor for a ValueError.
        ValueError: when there is nothing to segment, two masks would have one name or are there already, or
            the model is unfit.
        ModuleNotFoundError: when the runtime is not installed.
        OSError: before the first volume, when ``out`` cannot be written to or another process has it.
        KeyboardInterrupt: at Ctrl-C; says how many are done, and their masks are whole.
    """
    if max_memory is not None and not max_memory > 0:
        raise ValueError(f"max_memory: expected a number of GB above 0, found {max_memory}")
    masks = _masks(inputs, Path(out), series)
    network, settings = load_model(model, threads, runtime, precision)
    if overlap is not None and settings["window"] is None:
        raise ValueError(f"overlap: the network takes whole volumes, found {overlap}")
    if overlap is not None:
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap: expected a number from 0 to below 1, found {overlap}")
        settings["window"]["overlap"] = overlap
    if max_voxels is not None:
        if max_voxels < 1:
            raise ValueError(f"max_voxels: expected 1 or more, found {max_voxels}")
        resampling = [step for step in settings["steps"] if step["step"] in ("spacing", "resample")]
        for step in resampling:
            step["max_voxels"] = max_voxels
    masks = _without_existing(masks, existing, nifti)
    print(f"{model}: {network.runtime}", flush=True)
    with claimed(out):
        beside = len(masks) > 1 and (threads or os.cpu_count() or 1) > 1
        return _segment_all(masks, network, settings, nifti, beside, max_memory)


def _segment_all(
    masks: Mapping[Path, Path],
    network: Network,
    settings: Mapping[str, Any],
    nifti: bool,
    beside: bool = False,
    max_memory: float | None = None,
) -> dict[str, str]:
    failed: dict[str, str] = {}
    done: list[Path] = []
    progress = Progress(len(masks))

    def read(item: tuple[Path, Path]) -> tuple[Array, Volume, list[Undo]]:
        voxels, image, undo = prepare(item[1], settings)
        return voxels, replace(image, voxels=_outline(image.voxels)), undo

    def compute(item: tuple[Path, Path], found: tuple[Array, Volume, list[Undo]]) -> Any:
        voxels, image, undo = found
        window = _window(voxels, image, network, settings, max_memory)
        network.ready((1, len(voxels), *(window["roi_size"] if window else voxels.shape[1:])))
        progress.begin()
        return _ask(voxels, network, settings, window, progress), image, undo

    def write(item: tuple[Path, Path], found: tuple[Array, Volume, list[Undo]]) -> str:
        answer, image, undo = found
        mask = _brought_back(answer, settings, undo)
        for file in _files(item[0], nifti):
            with written_whole(file) as unfinished:
                _write(unfinished, mask, image, item[1], settings)
        done.append(item[0])
        return _counted(mask, settings["classes"])

    try:
        for (target, path), outcome, seconds in in_line(masks.items(), read, compute, write, beside):
            if isinstance(outcome, Exception):
                failed[str(path)] = _text(outcome)
                print(f"{path}: failed: {_text(outcome)}", file=sys.stderr)
                continue
            print(f"{target}  {seconds:.1f} s  voxels: {outcome}", flush=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{len(done)} of {len(masks)} cases are done") from None
    if failed:
        print(f"{len(failed)} of {len(masks)} cases failed, the others are done", file=sys.stderr)
    return failed


def _ask(
    voxels: Array,
    network: Callable[[Array], Array],
    settings: Mapping[str, Any],
    window: Mapping[str, Any] | None,
    progress: Progress | None = None,
) -> Array:
    """Classes `XYZ` of a volume `CXYZ`; logits `KXYZ` where the settings say what comes after the network."""
    if "after" in settings:
        return _answer(voxels, network, window, progress)
    assert window is not None
    return _sliding_window(voxels, network, **window, progress=progress)


def _brought_back(found: Array, settings: Mapping[str, Any], undo: Sequence[Undo]) -> Array:
    if "after" in settings:
        return finish(found, settings["after"], undo)
    for back in reversed(undo):
        found = back(found)
    return found


def _counted(mask: Array, classes: Sequence[str]) -> str:
    """Say how many voxels each class has, or each region of a mask `XYZK`."""
    if mask.ndim == 4:
        names, counts = classes, mask.sum(axis=(0, 1, 2), dtype=np.int64)
    else:
        names, counts = classes[1:], np.bincount(mask.ravel(order="K"), minlength=len(classes))[1:]
    return ", ".join(f"{name} {n}" for name, n in zip(names, counts, strict=True))


def _outline(voxels: Array) -> Array:
    """Return an array of the same shape that takes no memory."""
    return np.broadcast_to(voxels.dtype.type(0), voxels.shape)


def _window(
    voxels: Array, image: Volume, network: Network, settings: Mapping[str, Any], max_memory: float | None
) -> dict[str, Any] | None:
    """Return the bundle's window, or a smaller one that `max_memory` allows; None for whole volumes."""
    window: dict[str, Any] | None = settings["window"]
    resident = resident_bytes()
    if max_memory is None or resident is None or window is None:
        return window
    roi, step = window["roi_size"], settings.get("size_step", [1, 1, 1])
    padded = prod(max(n, edge) for n, edge in zip(voxels.shape[1:], roi, strict=True))
    others = resident + padded * (4 * len(settings["classes"]) + 1) + prod(image.grid.shape)
    each = network.bytes_a_voxel(settings["channels"], roi, step)
    fitting = fitting_window(roi, step, each, max_memory * 1e9 - others)
    if fitting is None:
        raise ValueError(
            f"needs more than --max_memory {max_memory:g} GB: {others * 1e-9:.2g} GB without the network"
        )
    if fitting != roi:
        edges = (" x ".join(map(str, each)) for each in (fitting, roi))
        print("windows of {} in the place of {}, for --max_memory".format(*edges), flush=True)
    return {**window, "roi_size": fitting}


def load_model(
    file: str | Path, threads: int = 0, runtime: str = "auto", precision: str = "float32"
) -> tuple[Network, dict[str, Any]]:
    """Load a network and its settings.

    Returns:
        The network, from windows, float32, `BCXYZ`, to logits of the same size; and the settings.

    Raises:
        FileNotFoundError: when there is no such file.
        ModuleNotFoundError: when the runtime is not installed.
        ValueError: when it cannot be read, holds no settings or those of another format, or was exported from
            other weights than the model.pt beside it.
    """
    network = load_network(Path(file), threads, runtime, precision)
    settings = _settings(Path(file))
    weights = Path(file).with_name("model.pt")
    if weights.is_file() and weights_hash(weights) != settings["weights_sha256"]:
        raise ValueError(f"{file}: was exported from other weights than {weights}: run `dckd export BUNDLE`")
    return network, settings


def read_settings(file: str | Path) -> dict[str, Any]:
    """Read the settings of a network, which has to be one that a runtime can load.

    Raises:
        FileNotFoundError: as `load_model`, and ValueError too.
    """
    load_network(Path(file), 1)
    return _settings(Path(file))


def segment(
    path: Path, network: Callable[[Array], Array], settings: Mapping[str, Any]
) -> tuple[Array, Volume]:
    """Segment one volume.

    Args:
        path: NIfTI or NRRD file.
        network: from windows to logits, see `load_model`.
        settings: see `load_model`.

    Returns:
        The classes, uint8, in the shape of the volume, and the volume as it was read.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it is not what the network takes; says what was found and what is expected.
    """
    voxels, image, undo = prepare(path, settings)
    found = _ask(voxels, network, settings, settings["window"])
    return _brought_back(found, settings, undo), image


def prepare(path: Path, settings: Mapping[str, Any]) -> tuple[Array, Volume, list[Undo]]:
    """Read one volume and bring it into the form that the network takes.

    Returns:
        The prepared volume, float32, `CXYZ`; the volume as it was read; and what brings a mask back, the last
        one first.

    Raises:
        FileNotFoundError: as `segment`, and ValueError too.
    """
    voxels, image, undo, extent, seen = look(path, settings)
    for note in far_notes(settings.get("known"), extent, seen):
        warn_of(str(path), note)
    return voxels, image, undo


def look(
    path: Path, settings: Mapping[str, Any]
) -> tuple[Array, Volume, list[Undo], Array, dict[str, float]]:
    """Return what `prepare` does, and extent (mm an axis) and `intensities` of the prepared volume."""
    voxels, image = _read(path, settings["channels"], **settings["read"])
    affine, undo, seen = image.affine, [], {}
    for step in settings["steps"]:
        if step["step"] == "normalize":
            seen = intensities(voxels)
        options = {key: value for key, value in step.items() if key != "step"}
        voxels, affine, back = _STEPS[step["step"]](voxels, affine, **options)
        undo.append(back)
    return voxels, image, undo, np.multiply(voxels.shape[1:], voxel_edges(affine)), seen


def weights_hash(file: Path) -> str:
    """Return the SHA-256 of the weights that a network was exported from."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


# Reading and writing


def _masks(inputs: Sequence[str | Path], out: Path, series: str | None = None) -> dict[Path, Path]:
    """Input of every mask."""
    found = (image_paths(Path(given), series) for given in inputs)
    volumes = [*dict.fromkeys(path for paths in found for path in paths)]  # in order, each once
    names = case_names([file.absolute() for file in volumes])
    endings = [".nii.gz" if is_volume(file) else ".dcm" for file in volumes]
    if ".dcm" in endings:
        dicom_package("highdicom")  # rather now than after the first volume
    masks = {
        out / f"{name}_seg{ending}": file for name, ending, file in zip(names, endings, volumes, strict=True)
    }
    overwritten = {target.resolve() for target in masks} & {file.resolve() for file in masks.values()}
    if overwritten:
        raise ValueError(f"{min(overwritten)} is an input and would be overwritten: choose another --out")
    return masks


def _files(target: Path, nifti: bool) -> list[Path]:
    """Return what is written: a DICOM SEG, as NIfTI too if that is wanted, or a NIfTI file."""
    also = nifti and target.suffix == ".dcm"
    return [target, target.with_suffix(".nii.gz")] if also else [target]


def _write(file: Path, mask: Array, image: Volume, path: Path, settings: Mapping[str, Any]) -> None:
    if file.suffix == ".dcm":
        if mask.ndim == 4:
            raise ValueError(
                "regions that overlap are written as NIfTI alone: segment a NIfTI or NRRD volume"
            )
        write_segmentation(file, mask, series_at(path), image.affine, settings)
    else:
        nibabel.save(mask_image(mask, image.grid, image.header), file)


def _without_existing(masks: dict[Path, Path], existing: str, nifti: bool) -> dict[Path, Path]:
    """Keep what is to be made; say what is left out or replaced."""
    if existing not in EXISTING:
        raise ValueError(f"existing: expected {', '.join(EXISTING)}, found {existing!r}")
    there = [target for target in masks if any(file.exists() for file in _files(target, nifti))]
    if there and existing == "refuse":
        raise ValueError(
            f"{len(there)} of {len(masks)} masks are there already, such as {there[0]}: choose --existing "
            "skip or --existing replace, or another --out"
        )
    for target in there:
        print(f"{target}  {'skipped: it is there already' if existing == 'skip' else 'will be replaced'}")
    return {target: path for target, path in masks.items() if existing == "replace" or target not in there}


def _settings(file: Path) -> dict[str, Any]:
    metadata = onnx_metadata(file)
    if KEY not in metadata:
        raise ValueError(
            f"{file}: has no settings, its metadata has the keys {sorted(metadata)}, expected {KEY!r} from "
            "`dckd export BUNDLE`"
        )
    settings: dict[str, Any] = json.loads(metadata[KEY])
    unknown = sorted({step["step"] for step in settings.get("steps", [])} - _STEPS.keys())
    unknown += sorted({step["step"] for step in settings.get("after", [])} - AFTER.keys())
    if settings.get("format") not in (FORMAT, FORMAT_AFTER) or unknown:
        raise ValueError(
            f"{file}: has settings of format {settings.get('format')}{unknown or ''}, expected {FORMAT} or "
            f"{FORMAT_AFTER}: use the predict.py that was exported with it"
        )
    return settings


def _read(
    path: Path,
    channels: int,
    dtype: str | None,
    nrrd_spacing: Sequence[float] | None,
    max_extent: Sequence[float] | None,
) -> tuple[Array, Volume]:
    """Read a volume as ``ReadVolumed`` and ``CheckVolumed`` do; give its voxels as `CXYZ`, and the volume."""
    image = read_image(path, nrrd_spacing, max_extent)
    voxels = channels_first(image.voxels, channels)
    with np.errstate(over="ignore"):
        voxels = voxels.astype(dtype or voxels.dtype, copy=False)
    if bad := count_not_finite(voxels):
        raise ValueError(f"{bad} voxels are NaN or infinite, expected finite intensities")
    for note in filter(None, (*image.notes, constant_note(voxels))):
        warn_of(str(path), note)
    return voxels, image


# Steps before the network: each gives voxels and affine, and what brings a mask back


def _orientation(voxels: Array, affine: Array, axcodes: str) -> tuple[Array, Array, Undo]:
    """MONAI's Orientation."""
    orientations = nibabel.orientations
    stored = orientations.io_orientation(affine)
    wanted = orientations.axcodes2ornt(axcodes)
    there = orientations.ornt_transform(stored, wanted)
    back = orientations.ornt_transform(wanted, stored)
    moved = affine @ orientations.inv_ornt_aff(there, voxels.shape[1:])
    turned = np.stack([orientations.apply_orientation(channel, there) for channel in voxels])
    return turned, moved, lambda mask, linear=False: orientations.apply_orientation(mask, back)


def _spacing(
    voxels: Array, affine: Array, pixdim: Sequence[float], max_voxels: int | None = None
) -> tuple[Array, Array, Undo]:
    """Resample as MONAI's Spacing: linear there, nearest on the way back. Shears are resampled away."""
    native = Grid(voxels.shape[1:], affine)
    old = voxel_edges(affine)
    new = np.where(np.abs(old - pixdim) <= _AFFINE_TOLERANCE, old, pixdim)
    target = _spacing_grid(native, new)
    if same_grid(native, target):
        return voxels.astype(np.float32, copy=False), affine, lambda mask, linear=False: mask
    check_resampling(native.shape, old, target.shape, new, max_voxels)
    matrix = np.linalg.solve(affine, target.affine)
    moved = Grid(target.shape, affine @ matrix)
    resampled = np.stack([_sample(channel, matrix, moved.shape) for channel in voxels])

    def back(mask: Array, linear: bool = False) -> Array:
        if linear:
            return _sample(mask, np.linalg.inv(matrix), native.shape)
        return resample_back(mask, moved, native)

    return resampled, moved.affine, back


def _resample(
    voxels: Array, affine: Array, spacing: Sequence[float], max_voxels: int | None = None
) -> tuple[Array, Array, Undo]:
    """Resample as dckd_ext.transforms.ResampleVolumed: same field of view, smooth along axes that shrink."""
    shape, edges = voxels.shape[1:], voxel_edges(affine)
    size = [max(1, round(n * s / t)) for n, s, t in zip(shape, edges, spacing, strict=True)]
    check_resampling(shape, edges, size, spacing, max_voxels)
    ratio = np.divide(shape, size)
    moved = affine @ np.block(
        [[np.diag(ratio), (ratio[:, None] - 1) / 2], [np.zeros((1, 3)), np.ones((1, 1))]]
    )
    for axis in np.argsort(-ratio):  # what shrinks most first: the others then cost less
        if shape[axis] != size[axis]:
            voxels = _multiply(voxels, _smooth_linear(shape[axis], size[axis]), axis + 1)
    index = np.ix_(*((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(shape, size, strict=True)))
    return voxels.astype(np.float32, copy=False), moved, lambda mask, linear=False: mask[index]


def _percentiles(
    voxels: Array, affine: Array, lower: float, upper: float, b_min: float, b_max: float, clip: bool
) -> tuple[Array, Array, Undo]:
    """MONAI's ScaleIntensityRangePercentiles."""
    low, high = (np.float32(value) for value in np.percentile(voxels, [lower, upper]))
    if low == high:
        return voxels - low + np.float32(b_min), affine, lambda mask, linear=False: mask
    voxels = (voxels - low) / (high - low) * np.float32(b_max - b_min) + np.float32(b_min)
    return voxels.clip(b_min, b_max) if clip else voxels, affine, lambda mask, linear=False: mask


def _normalize(voxels: Array, affine: Array) -> tuple[Array, Array, Undo]:
    """MONAI's NormalizeIntensity."""
    mean, deviation = (np.float32(f(voxels, dtype=np.float64)) for f in (np.mean, np.std))
    return (voxels - mean) / (deviation or np.float32(1)), affine, lambda mask, linear=False: mask


_STEPS: Mapping[str, Callable[..., tuple[Array, Array, Undo]]] = {
    "orientation": _orientation,
    "spacing": _spacing,
    "resample": _resample,
    "percentiles": _percentiles,
    "normalize": _normalize,
    "normalize_channels": normalize_channels,
    "range": scale_range,
    "scale": scale,
    "crop": crop_foreground,
    "pad": spatial_pad,
}


# Resampling


def _spacing_grid(native: Grid, spacing: Array) -> Grid:
    """Make MONAI's new grid (its zoom_affine and compute_shape_offset)."""
    shape, affine = native
    turn_zoom_shear = affine[:3, :3]
    zoom_shear = np.linalg.cholesky(turn_zoom_shear.T @ turn_zoom_shear).T
    target = np.eye(4)
    target[:3, :3] = turn_zoom_shear @ np.linalg.inv(zoom_shear) @ np.diag(spacing)
    corners = np.array([*product(*((0.0, n - 1.0) for n in shape))]).T
    corners = np.concatenate([corners, np.ones((1, 8))])
    found = (np.linalg.solve(target, affine) @ corners)[:3]
    size = np.round(np.ptp(found, axis=1) + 1).astype(int)
    for number in range(8):
        # a corner that is the lowest along all axes; rounding in the file's affine can leave none
        if np.allclose((found - found[:, number : number + 1]).min(axis=1), 0, rtol=_AFFINE_TOLERANCE):
            target[:3, 3] = (affine @ corners[:, number])[:3]
            break
    else:
        target[:3, 3] = turn_zoom_shear @ np.divide(shape, 2) + affine[:3, 3] - target[:3, :3] @ (size / 2)
    return Grid(tuple(int(n) for n in size), target)


def _sample(volume: Array, matrix: Array, size: Sequence[int]) -> Array:
    """Interpolate a volume at `matrix` times the indices of a grid of `size`, edges repeated; float32."""
    out = np.empty(size, np.float32)
    for rows, place in places(matrix, size):
        place = [axis.clip(0, n - 1) for axis, n in zip(place, volume.shape, strict=True)]
        low = [np.floor(axis).astype(np.intp) for axis in place]
        high = [np.minimum(axis + 1, n - 1) for axis, n in zip(low, volume.shape, strict=True)]
        share = [axis - under for axis, under in zip(place, low, strict=True)]
        total = np.zeros(place[0].shape)
        for upper in product((False, True), repeat=3):
            index = tuple(high[axis] if up else low[axis] for axis, up in enumerate(upper))
            weights = (share[axis] if up else 1 - share[axis] for axis, up in enumerate(upper))
            total += prod(weights) * volume[index]
        out[rows] = total
    return out


def _smooth_linear(before: int, after: int) -> Array:
    """Gaussian smoothing of (factor - 1) / 2 voxels, then linear interpolation: one axis, (after, before)."""
    smooth = np.eye(before)
    sigma = (before / after - 1) / 2
    if sigma > 0:
        reach = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
        weights = np.exp(-0.5 * (reach / sigma) ** 2)
        rows = np.arange(before)[:, None]
        smooth = np.zeros((before, before))
        np.add.at(smooth, (rows, (rows + reach).clip(0, before - 1)), weights / weights.sum())
    place = ((np.arange(after) + 0.5) * before / after - 0.5).clip(0, before - 1)
    low = np.floor(place).astype(int)
    share = (place - low)[:, None]
    matrix = (1 - share) * smooth[low] + share * smooth[np.minimum(low + 1, before - 1)]
    return matrix.astype(np.float32)


def _multiply(volume: Array, matrix: Array, axis: int) -> Array:
    """`matrix` times `volume`, `CXYZ`, along `axis`, in float32 by parts along another one."""
    shape = list(volume.shape)
    shape[axis] = len(matrix)
    out = np.empty(shape, np.float32)
    along = max({1, 2, 3} - {axis}, key=lambda other: abs(volume.strides[other]))
    for rows in slabs(shape[along], max(volume.size, out.size)):
        part = (slice(None),) * along + (rows,)
        lines = np.moveaxis(volume[part], axis, -1).astype(np.float32, order="C")
        out[part] = np.moveaxis(lines @ matrix.T, -1, axis)
    return out


# The network


def _sliding_window(
    voxels: Array,
    network: Callable[[Array], Array],
    roi_size: Sequence[int],
    overlap: float,
    progress: Progress | None = None,
) -> Array:
    """Classes of a volume `CXYZ` from windows, as MONAI's sliding_window_inference places and blends them."""
    logits, _ = _blended(voxels, network, roi_size, _window_weight(roi_size), overlap, "edge", progress)
    return np.stack([part.argmax(axis=0).astype(np.uint8) for part in np.moveaxis(logits, 1, 0)])


def _answer(
    voxels: Array,
    network: Callable[[Array], Array],
    window: Mapping[str, Any] | None,
    progress: Progress | None = None,
) -> Array:
    """Logits `KXYZ` of a volume `CXYZ`, from windows as the bundle blends them or, without, as a whole."""
    if window is None:
        return network(np.ascontiguousarray(voxels[None], np.float32))[0]
    roi_size = window["roi_size"]
    weight = _window_weight(roi_size) if window["blend"] == "gaussian" else np.ones(roi_size, np.float32)
    blending = roi_size, weight, window["overlap"], window["padding"]
    logits, total = _blended(voxels, network, *blending, progress)
    logits /= total
    return logits


def _blended(
    voxels: Array,
    network: Callable[[Array], Array],
    roi_size: Sequence[int],
    weight: Array,
    overlap: float,
    padding: str,
    progress: Progress | None = None,
) -> tuple[Array, Array]:
    """Sum of the weighted logits of all windows, and of their weights."""
    shape = voxels.shape[1:]
    missing = [max(roi - n, 0) for n, roi in zip(shape, roi_size, strict=True)]
    if any(missing):
        gaps = [(0, 0), *((gap // 2, gap - gap // 2) for gap in missing)]
        voxels = np.pad(voxels, gaps, mode=padding)  # type: ignore[call-overload]
    total = np.zeros(voxels.shape[1:], np.float32)
    logits: Array | None = None
    places = (_starts(n, roi, overlap) for n, roi in zip(voxels.shape[1:], roi_size, strict=True))
    corners = list(product(*places))
    constant: dict[bytes | None, Array] = {}  # logits of a window without tissue, all of one value
    for number, corner in enumerate(corners):
        window = (
            slice(None),
            *(slice(start, start + roi) for start, roi in zip(corner, roi_size, strict=True)),
        )
        content = np.ascontiguousarray(voxels[window][None], np.float32)
        value = _only_value(content)
        found = constant.get(value)
        if found is None:
            found = network(content)[0]
        if value is not None:
            constant = {value: found}
        if logits is None:
            logits = np.zeros((len(found), *voxels.shape[1:]), np.float32)
        logits[window] += found * weight  # the sum of weights changes no argmax
        total[window[1:]] += weight
        if progress is not None:
            progress.window(number + 1, len(corners), _gigabytes(logits))
    assert logits is not None
    inner = tuple(slice(gap // 2, gap // 2 + n) for gap, n in zip(missing, shape, strict=True))
    return logits[(slice(None), *inner)], total[inner]


def _only_value(window: Array) -> bytes | None:
    """Return what all voxels of a window hold, channel by channel; None if they differ."""
    first = window[..., :1, :1, :1]
    return first.tobytes() if (window == first).all() else None


def _gigabytes(logits: Array) -> float | None:
    """Return the memory that a volume takes, seen after its first window: logits come to be where written."""
    now, peak = resident_bytes(), peak_bytes()
    if now is None or peak is None:
        return None
    return max(peak, now + logits.nbytes) * 1e-9


def _starts(length: int, roi: int, overlap: float) -> list[int]:
    """Where windows start along an axis; the last one ends with it."""
    step = max(1, int(roi * (1 - overlap)))
    return [*range(0, length - roi, step), length - roi]


def _window_weight(roi_size: Sequence[int]) -> Array:
    weight = np.ones(())
    for edge in roi_size:
        offset = np.arange(edge) - (edge - 1) / 2
        weight = weight[..., None] * np.exp(-0.5 * (offset / (edge / 8)) ** 2)
    return weight.clip(max(weight.min(), 1e-3)).astype(np.float32)


def _text(error: Exception) -> str:
    return (
        str(error) if type(error) in (ValueError, FileNotFoundError) else f"{type(error).__name__}: {error}"
    )


if __name__ == "__main__":
    sys.exit(main())
