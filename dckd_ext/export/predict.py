"""Segment volumes with an exported network, without torch: it needs numpy, nibabel and onnxruntime.

    python predict.py IN... --out DIR

IN are NIfTI or NRRD files (NRRD needs pynrrd too) or folders of them; DIR gets one CASE_seg.nii.gz a volume,
in the geometry of its image. This file stands alone: `dckd export` copies it beside the network, whose file
holds the settings of the bundle's inference config. Volumes are treated as MONAI's transforms do there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

import nibabel
import numpy as np
import onnxruntime

__all__ = [
    "FORMAT",
    "KEY",
    "case_names",
    "load_model",
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

Array = np.ndarray
Undo = Callable[[Array], Array]

_ENDINGS = (".nii", ".nii.gz", ".nrrd")
_MAX_VOXELS = 10**9
_CHUNK = 2**19  # voxels that are resampled at once
_AFFINE_TOLERANCE = 1e-3  # MONAI's: grids that agree so far are the same


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the result is the exit code."""
    parser = argparse.ArgumentParser(description="Segment volumes with an exported network.")
    parser.add_argument("inputs", nargs="+", metavar="IN", help=f"a file or folder of {', '.join(_ENDINGS)}")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets one CASE_seg.nii.gz a volume")
    beside = Path(__file__).resolve().parent / "models" / "model.onnx"
    parser.add_argument(
        "--model", default=beside, metavar="FILE", help="default: models/model.onnx beside this"
    )
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: one a core")
    parser.add_argument("--overlap", type=float, metavar="X", help="of windows; default: the bundle's")
    options = parser.parse_args(arguments)
    try:
        failed = predict(options.inputs, options.out, options.model, options.threads, options.overlap)
    except (ValueError, OSError) as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


def predict(
    inputs: Sequence[str | Path],
    out: str | Path,
    model: str | Path,
    threads: int = 0,
    overlap: float | None = None,
) -> dict[str, str]:
    """Segment files one after another; go on after one that fails.

    Args:
        inputs: files, or folders of files.
        out: folder of the masks, uint8, one CASE_seg.nii.gz an input.
        model: ONNX file that `dckd export` wrote.
        threads: of the network; 0 is one a core.
        overlap: of neighbouring windows, from 0 to below 1; by default the bundle's.

    Returns:
        The error of every input that failed; they are printed too.

    Raises:
        FileNotFoundError: when an input or the model is missing; nothing is done then, nor for a ValueError.
        ValueError: when there is nothing to segment, two masks would have one name, or the model is unfit.
    """
    masks = _masks(inputs, Path(out))
    network, settings = load_model(model, threads)
    if overlap is not None:
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap: expected a number from 0 to below 1, found {overlap}")
        settings["window"]["overlap"] = overlap
    failed = {}
    for target, path in masks.items():
        start = time.perf_counter()
        try:
            mask, affine = segment(path, network, settings)
            _write(target, mask, affine)
        except Exception as error:
            failed[str(path)] = _text(error)
            print(f"{path}: failed: {_text(error)}", file=sys.stderr)
            continue
        counts = np.bincount(mask.ravel(order="K"), minlength=len(settings["classes"]))[1:]
        found = ", ".join(f"{name} {n}" for name, n in zip(settings["classes"][1:], counts, strict=True))
        print(f"{target}  {time.perf_counter() - start:.1f} s  voxels: {found}", flush=True)
    if failed:
        print(f"{len(failed)} of {len(masks)} cases failed, the others are done", file=sys.stderr)
    return failed


def load_model(file: str | Path, threads: int = 0) -> tuple[Callable[[Array], Array], dict[str, Any]]:
    """Load a network and its settings.

    Returns:
        A function from windows, float32, `BCXYZ`, to logits of the same size; and the settings.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read, holds no settings or those of another format, or was exported from
            other weights than the model.pt beside it.
    """
    session = _session(Path(file), threads)
    settings = _settings(Path(file), session)
    weights = Path(file).with_name("model.pt")
    if weights.is_file() and weights_hash(weights) != settings["weights_sha256"]:
        raise ValueError(f"{file}: was exported from other weights than {weights}: run `dckd export BUNDLE`")
    name = session.get_inputs()[0].name
    return lambda windows: session.run(None, {name: windows})[0], settings


def read_settings(file: str | Path) -> dict[str, Any]:
    """Read the settings of a network.

    Raises:
        FileNotFoundError: as `load_model`, and ValueError too.
    """
    return _settings(Path(file), _session(Path(file), 1))


def segment(
    path: Path, network: Callable[[Array], Array], settings: Mapping[str, Any]
) -> tuple[Array, Array]:
    """Segment one volume.

    Args:
        path: NIfTI or NRRD file.
        network: from windows to logits, see `load_model`.
        settings: see `load_model`.

    Returns:
        The classes, uint8, in the shape of the volume, and the affine of the file.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it is not what the network takes; says what was found and what is expected.
    """
    voxels, affine, undo = prepare(path, settings)
    mask = _sliding_window(voxels, network, **settings["window"])
    for back in reversed(undo):
        mask = back(mask)
    return mask, affine


def prepare(path: Path, settings: Mapping[str, Any]) -> tuple[Array, Array, list[Undo]]:
    """Read one volume and bring it into the form that the network takes.

    Returns:
        The volume, float32, `CXYZ`; the affine of the file; and what brings a mask back, the last one first.

    Raises:
        FileNotFoundError: as `segment`, and ValueError too.
    """
    voxels, native = _read(path, settings["channels"], **settings["read"])
    affine, undo = native, []
    for step in settings["steps"]:
        options = {key: value for key, value in step.items() if key != "step"}
        voxels, affine, back = _STEPS[step["step"]](voxels, affine, **options)
        undo.append(back)
    return voxels, native, undo


def weights_hash(file: Path) -> str:
    """SHA-256 of the weights that a network was exported from."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


# Reading and writing


def _masks(inputs: Sequence[str | Path], out: Path) -> dict[Path, Path]:
    """Input of every mask."""
    volumes: dict[Path, None] = {}  # in order, each once
    for given in map(Path, inputs):
        if not given.exists():
            raise FileNotFoundError(f"{given}: there is no such file or folder")
        files = sorted(given.iterdir()) if given.is_dir() else [given]
        found = [file for file in files if file.name.endswith(_ENDINGS) and file.name[0] != "."]
        if not found:
            raise ValueError(f"{given}: expected volumes ({', '.join(_ENDINGS)}), found none")
        volumes.update(dict.fromkeys(found))
    names = case_names([file.absolute() for file in volumes])
    masks = {out / f"{name}_seg.nii.gz": file for name, file in zip(names, volumes, strict=True)}
    overwritten = {target.resolve() for target in masks} & {file.resolve() for file in masks.values()}
    if overwritten:
        raise ValueError(f"{min(overwritten)} is an input and would be overwritten: choose another --out")
    return masks


def case_names(paths: Sequence[str | PathLike[str]]) -> list[str]:
    """Name volumes by the shortest part of their paths that tells them apart.

    One part is taken for all, the first of these under which no two have the same name: the file's name
    without its ending, the folder that holds it, the folder above that, and so on; then two neighbours of
    these, joined by "_"; then three. `dckd_ext.export.predict`, which is shipped alone, has a copy.

    Args:
        paths: of the volumes, all relative to one folder or all absolute.

    Raises:
        ValueError: when no part tells two of them apart, as for a.nii beside a.nii.gz; names both paths.

    Examples:
        >>> case_names(["imagesTr/a_001.nii.gz", "imagesTr/a_002.nii.gz"])
        ['a_001', 'a_002']
        >>> case_names(["case001/image.nii.gz", "case002/image.nii.gz"])
        ['case001', 'case002']
        >>> case_names(["oslo/1/t1.nii", "rome/1/t1.nii", "rome/2/t1.nii"])
        ['oslo_1', 'rome_1', 'rome_2']
    """
    parts = [_path_parts(path) for path in paths]
    deepest = max(map(len, parts), default=0)
    for length in range(1, deepest + 1):
        for start in range(deepest - length + 1):
            names = ["_".join(reversed(part[start : start + length])) for part in parts]
            if all(names) and len(set(names)) == len(names):
                return names
    owner: dict[str, str] = {}
    for path, part in zip(map(str, paths), parts, strict=True):
        name = "_".join(reversed(part))
        if name in owner:
            raise ValueError(
                f"{owner[name]} and {path} cannot be told apart by a name, both would be the case "
                f"{part[0]!r}: expected paths that differ in more than the ending, so rename or remove one"
            )
        owner[name] = path
    return []


def _path_parts(path: str | PathLike[str]) -> list[str]:
    """Return the file's name without its ending, then the folders from the nearest to the farthest."""
    pure = PurePath(path)
    folders = [part for part in pure.parent.parts if part not in (pure.anchor, "..")]
    return [re.sub(r"\.(nii|nii\.gz|nrrd|nhdr)$", "", pure.name, flags=re.IGNORECASE), *reversed(folders)]


def _session(file: Path, threads: int) -> Any:
    if not file.is_file():
        raise FileNotFoundError(f"there is no network at {file}: make it with `dckd export BUNDLE`")
    if threads < 0:
        raise ValueError(f"threads: expected 0 (one a core) or more, found {threads}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own types
        raise ValueError(f"{file}: cannot be read as an ONNX network: {error}") from error


def _settings(file: Path, session: Any) -> dict[str, Any]:
    metadata = session.get_modelmeta().custom_metadata_map
    if KEY not in metadata:
        raise ValueError(
            f"{file}: has no settings, its metadata has the keys {sorted(metadata)}, expected {KEY!r} from "
            "`dckd export BUNDLE`"
        )
    settings: dict[str, Any] = json.loads(metadata[KEY])
    unknown = sorted({step["step"] for step in settings.get("steps", [])} - _STEPS.keys())
    if settings.get("format") != FORMAT or unknown:
        raise ValueError(
            f"{file}: has settings of format {settings.get('format')}{unknown or ''}, expected {FORMAT}: use "
            "the predict.py that was exported with it"
        )
    return settings


def _read(
    path: Path,
    channels: int,
    dtype: str | None,
    nrrd_spacing: Sequence[float] | None,
    max_extent: Sequence[float] | None,
) -> tuple[Array, Array]:
    """Voxels `CXYZ` and affine (RAS) of a file."""
    voxels, affine = _read_nrrd(path, nrrd_spacing) if path.suffix == ".nrrd" else _read_nifti(path)
    if voxels.dtype.kind not in "biuf":
        raise ValueError(f"expected one number a voxel, found {voxels.dtype} (a colour image?)")
    volume = voxels[None] if voxels.ndim == 3 else np.moveaxis(voxels, -1, 0)
    if volume.ndim != 4 or len(volume) != channels or not volume.size:
        raise ValueError(f"expected a 3D volume with {channels} channel(s), found the shape {voxels.shape}")
    with np.errstate(over="ignore"):
        volume = volume.astype(dtype or volume.dtype.newbyteorder("="), copy=False)
    if volume.dtype.kind == "f":
        bad = sum(int((~np.isfinite(part)).sum()) for part in np.moveaxis(volume, -1, 0))
        if bad:
            raise ValueError(f"{bad} voxels are NaN or infinite, expected finite intensities")
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > 0:
        raise ValueError(f"expected an affine that can be inverted, found {affine.tolist()}")
    extent = [n * edge for n, edge in zip(volume.shape[1:], _spacings(affine), strict=True)]
    if max_extent and any(found > most for found, most in zip(extent, max_extent, strict=True)):
        raise ValueError(
            f"the volume extends over {_mm(extent)}, expected at most {_mm(max_extent)} along the stored "
            "axes: a wrong spacing, or exchanged axes?"
        )
    return volume, affine


def _read_nifti(path: Path) -> tuple[Array, Array]:
    try:
        image: Any = nibabel.load(path)
        voxels, affine = np.asanyarray(image.dataobj), np.array(image.affine)
    except FileNotFoundError:
        raise
    except Exception as error:  # nibabel's, zlib's and numpy's
        raise ValueError(f"cannot be read: {_text(error)}") from error
    # as MONAI reads: an sform that contradicts the header's spacing gives way to the qform, which cannot
    if voxels.ndim == 3 and not np.allclose(image.header.get_zooms(), _spacings(affine)):
        affine = image.header.get_qform()
    return voxels, affine


def _read_nrrd(path: Path, placeholder: Sequence[float] | None) -> tuple[Array, Array]:
    try:
        import nrrd
    except ImportError as error:
        raise ValueError("NRRD files need the package pynrrd: pip install pynrrd") from error
    try:
        voxels, header = nrrd.read(str(path))
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"cannot be read: {_text(error)}") from error
    if voxels.ndim != 3:
        raise ValueError(f"expected three axes and one value a voxel, found the sizes {voxels.shape}")
    directions = np.asarray(
        header.get("space directions", np.diag(header.get("spacings", [np.nan] * 3))), float
    )
    spacing = np.linalg.norm(directions, axis=1)
    stated = spacing.shape == (3,) and np.isfinite(spacing).all() and spacing.all()
    if placeholder is not None:  # the order of the array is the geometry
        if not stated or np.allclose(spacing, 1):
            print(f"{path}: the header states no spacing, taken as {_mm(placeholder)}", file=sys.stderr)
            spacing = np.asarray(placeholder)
        return voxels, np.diag([*spacing, 1.0])
    if not stated:
        raise ValueError("the NRRD header states no spacing")
    space = header.get("space", "left-posterior-superior")
    if space not in ("left-posterior-superior", "right-anterior-superior"):
        raise ValueError(
            f"expected the space left-posterior-superior or right-anterior-superior, found {space}"
        )
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions.T, header.get("space origin", np.zeros(3))
    return voxels, np.diag([-1, -1, 1, 1]) @ affine if space[0] == "l" else affine


def _write(target: Path, mask: Array, affine: Array) -> None:
    """As the bundle's writer does; beside the target, then renamed."""
    image = nibabel.Nifti1Image(mask, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".partial-{target.name}")
    try:
        nibabel.save(image, beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


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
    return turned, moved, lambda mask: orientations.apply_orientation(mask, back)


def _spacing(voxels: Array, affine: Array, pixdim: Sequence[float]) -> tuple[Array, Array, Undo]:
    """MONAI's Spacing: linear on the way there, nearest on the way back. Shears are resampled away."""
    shape = voxels.shape[1:]
    old = _spacings(affine)
    new = np.where(np.abs(old - pixdim) <= _AFFINE_TOLERANCE, old, pixdim)
    target, size = _spacing_grid(shape, affine, new)
    if _same_grid(affine, target, shape, size):
        return voxels.astype(np.float32, copy=False), affine, lambda mask: mask
    matrix = np.linalg.solve(affine, target)
    moved = affine @ matrix
    resampled = np.stack([_sample(channel, matrix, size, _linear, np.float32) for channel in voxels])

    def back(mask: Array) -> Array:
        if _same_grid(moved, affine, size, shape):
            return mask
        return _sample(mask, np.linalg.solve(moved, affine), shape, _nearest, mask.dtype)

    return resampled, moved, back


def _resample(voxels: Array, affine: Array, spacing: Sequence[float]) -> tuple[Array, Array, Undo]:
    """dckd_ext.transforms.ResampleVolumed: keeps the field of view, smooths the axes that shrink."""
    shape = voxels.shape[1:]
    size = [max(1, round(n * s / t)) for n, s, t in zip(shape, _spacings(affine), spacing, strict=True)]
    if np.prod(size, dtype=float) > _MAX_VOXELS:
        raise ValueError(
            f"{shape} voxels of {_mm(_spacings(affine))} would become {size}, more than {_MAX_VOXELS}"
        )
    ratio = np.divide(shape, size)
    moved = affine @ np.block(
        [[np.diag(ratio), (ratio[:, None] - 1) / 2], [np.zeros((1, 3)), np.ones((1, 1))]]
    )
    for axis in np.argsort(-ratio):  # what shrinks most first: the others then cost less
        if shape[axis] != size[axis]:
            voxels = _multiply(voxels, _smooth_linear(shape[axis], size[axis]), axis + 1)
    index = np.ix_(*((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(shape, size, strict=True)))
    return voxels.astype(np.float32, copy=False), moved, lambda mask: mask[index]


def _percentiles(
    voxels: Array, affine: Array, lower: float, upper: float, b_min: float, b_max: float, clip: bool
) -> tuple[Array, Array, Undo]:
    """MONAI's ScaleIntensityRangePercentiles."""
    low, high = (np.float32(value) for value in np.percentile(voxels, [lower, upper]))
    if low == high:
        return voxels - low + np.float32(b_min), affine, lambda mask: mask
    voxels = (voxels - low) / (high - low) * np.float32(b_max - b_min) + np.float32(b_min)
    return voxels.clip(b_min, b_max) if clip else voxels, affine, lambda mask: mask


def _normalize(voxels: Array, affine: Array) -> tuple[Array, Array, Undo]:
    """MONAI's NormalizeIntensity."""
    mean, deviation = (np.float32(f(voxels, dtype=np.float64)) for f in (np.mean, np.std))
    return (voxels - mean) / (deviation or np.float32(1)), affine, lambda mask: mask


_STEPS: Mapping[str, Callable[..., tuple[Array, Array, Undo]]] = {
    "orientation": _orientation,
    "spacing": _spacing,
    "resample": _resample,
    "percentiles": _percentiles,
    "normalize": _normalize,
}


# Resampling


def _spacings(affine: Array) -> Array:
    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return np.where(edges == 0, 1, edges)


def _spacing_grid(shape: Sequence[int], affine: Array, spacing: Array) -> tuple[Array, tuple[int, ...]]:
    """Affine and size of MONAI's new grid (its zoom_affine and compute_shape_offset)."""
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
    return target, tuple(int(n) for n in size)


def _same_grid(source: Array, target: Array, shape: Sequence[int], size: Sequence[int]) -> bool:
    between = np.linalg.solve(source, target)
    alike = np.allclose(source, target, atol=_AFFINE_TOLERANCE)
    alike = alike or np.allclose(between, np.eye(4), atol=_AFFINE_TOLERANCE)
    return bool(alike) and tuple(shape) == tuple(size)


def _sample(volume: Array, matrix: Array, size: Sequence[int], take: Callable, dtype: Any) -> Array:
    """`volume` at `matrix` times the indices of a grid of `size`, edges repeated.

    The order of operations is that of torch's affine_grid and grid_sample with align_corners=False, so that
    points halfway between two voxels go to the same one.
    """
    shape = np.array(volume.shape)
    theta = (_to_unit(shape) @ matrix @ np.linalg.inv(_to_unit(size)))[[2, 1, 0]][:, [2, 1, 0, 3]]
    steps = [_unit_steps(n) for n in size]
    out = np.empty(size, dtype)
    for rows in _slabs(size[0], int(np.prod(size))):
        x, y, z = np.meshgrid(steps[0][rows], steps[1], steps[2], indexing="ij")
        points = np.stack([z, y, x, np.ones_like(x)], axis=-1).reshape(-1, 4)
        unit = (points @ theta.T)[:, ::-1]
        place = np.clip(((unit + 1) * shape - 1) / 2, 0, shape - 1)
        out[rows] = take(volume, place.T).reshape(out[rows].shape)
    return out


def _to_unit(size: Sequence[int] | Array) -> Array:
    """Matrix from the indices of a grid to [-1, 1] over its edges."""
    matrix = np.diag([*np.divide(2, size), 1.0])
    matrix[:3, 3] = np.divide(1, size) - 1
    return matrix


def _unit_steps(count: int) -> Array:
    """Voxel centres of an axis that spans [-1, 1]; from both ends and rounded once, as in torch.linspace."""
    steps = np.arange(count // 2, dtype=np.longdouble)
    low = (np.longdouble(2 / max(1, count - 1)) * steps - 1).astype(float)
    return np.concatenate([low, np.zeros(count % 2), -low[::-1]]) * (count - 1) / count


def _linear(volume: Array, place: Array) -> Array:
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, np.array(volume.shape)[:, None] - 1)
    share = place - low
    total = np.zeros(place.shape[1])
    for upper in product((False, True), repeat=3):
        index = tuple(high[axis] if up else low[axis] for axis, up in enumerate(upper))
        weight = np.prod([share[axis] if up else 1 - share[axis] for axis, up in enumerate(upper)], axis=0)
        total += weight * volume[index]
    return total


def _nearest(volume: Array, place: Array) -> Array:
    return volume[tuple(np.rint(place).astype(np.intp))]


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
    for rows in _slabs(shape[along], max(volume.size, out.size)):
        part = (slice(None),) * along + (rows,)
        lines = np.moveaxis(volume[part], axis, -1).astype(np.float32, order="C")
        out[part] = np.moveaxis(lines @ matrix.T, -1, axis)
    return out


def _slabs(length: int, voxels: int) -> Iterator[slice]:
    step = max(1, _CHUNK * length // voxels)
    return (slice(start, start + step) for start in range(0, length, step))


# The network


def _sliding_window(
    voxels: Array, network: Callable[[Array], Array], roi_size: Sequence[int], overlap: float
) -> Array:
    """Classes of a volume `CXYZ` from windows, as MONAI's sliding_window_inference places and blends them."""
    shape = voxels.shape[1:]
    missing = [max(roi - n, 0) for n, roi in zip(shape, roi_size, strict=True)]
    if any(missing):
        voxels = np.pad(voxels, [(0, 0), *((gap // 2, gap - gap // 2) for gap in missing)], mode="edge")
    weight = _window_weight(roi_size)
    logits: Array | None = None
    places = (_starts(n, roi, overlap) for n, roi in zip(voxels.shape[1:], roi_size, strict=True))
    for corner in product(*places):
        window = (
            slice(None),
            *(slice(start, start + roi) for start, roi in zip(corner, roi_size, strict=True)),
        )
        found = network(np.ascontiguousarray(voxels[window][None], np.float32))[0]
        if logits is None:
            logits = np.zeros((len(found), *voxels.shape[1:]), np.float32)
        logits[window] += found * weight  # the sum of weights changes no argmax
    assert logits is not None
    inner = tuple(slice(gap // 2, gap // 2 + n) for gap, n in zip(missing, shape, strict=True))
    classes = (
        part.argmax(axis=0).astype(np.uint8) for part in np.moveaxis(logits[(slice(None), *inner)], 1, 0)
    )
    return np.stack(list(classes))


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


def _mm(edges: Sequence[float] | Array) -> str:
    return " x ".join(f"{edge:.4g}" for edge in edges) + " mm"


def _text(error: Exception) -> str:
    return (
        str(error) if type(error) in (ValueError, FileNotFoundError) else f"{type(error).__name__}: {error}"
    )


if __name__ == "__main__":
    sys.exit(main())
