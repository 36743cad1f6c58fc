"""Folders of synthetic volumes."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dckd_ext.data.tdsc import ABUS_SPACING
from dckd_ext.phantom.checks import are_numbers, expect, is_whole
from dckd_ext.phantom.layouts import SYNTHETIC, write_msd_index, write_nifti, write_nrrd, write_tdsc_tables
from dckd_ext.phantom.volume import Lesion, Settings, draw_breast, find_lesions, make_phantom
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.folders import claimed

__all__ = ["write_phantoms"]

_ABUS_SHAPE = (865, 682, 354)  # the largest of the open set
_DEFAULTS = {"tdsc": (_ABUS_SHAPE, ABUS_SPACING), "msd": (Settings.shape, Settings.spacing)}


@dataclass(frozen=True)
class _Case:
    image: Path
    mask: Path
    seed: int


def write_phantoms(
    out: str | os.PathLike[str],
    count: int,
    layout: str = "tdsc",
    seed: int = 0,
    shape: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    lesions: int | None = Settings.lesions,
    lesion_ml: Sequence[float] = Settings.lesion_ml,
    malignant: float = Settings.malignant,
    shares: Sequence[float] = (0.5, 0.15, 0.35),
    workers: int = 1,
) -> Path:
    """Write a folder of synthetic volumes; those that an interrupted call has finished are kept.

    Two layouts:

    - "tdsc", that of the open ABUS set (TDSC-ABUS 2023): ``{Train,Validation,Test}/{DATA/DATA_NNN.nrrd,
      MASK/MASK_NNN.nrrd, labels.csv, bbx_labels.csv}``. As there, the headers hold ones instead of the
      spacing. A case without lesion has no row in the tables; one with several has a box round all of them
      and is malignant if one of them is.
    - "msd", that of the Medical Segmentation Decathlon: NIfTI with spacing in ``imagesTr`` and ``labelsTr``,
      and ``dataset.json``.

    Args:
        out: the folder, new or empty, or written by this function with the same settings.
        count: number of volumes.
        layout: "tdsc" or "msd".
        seed: each volume gets a seed of its own, drawn from this one and its number.
        shape: voxels along (lateral, depth, sweep); by default 865 x 682 x 354 for tdsc (minutes a
            volume) and 128 x 128 x 96 for msd (about a second).
        spacing: mm; by default 0.2, 0.073, 0.475674 for tdsc and 0.3, 0.25, 0.45 for msd.
        lesions: of each volume, see `make_phantom`.
        lesion_ml: see `make_phantom`.
        malignant: see `make_phantom`.
        shares: of Train, Validation and Test among the volumes (tdsc only), by default those of the open set;
            of two or more volumes at least one is for training and one for validation.
        workers: processes; the files do not depend on it.

    Returns:
        The folder.

    Raises:
        ValueError: for arguments out of range.
        FileExistsError: when ``out`` holds something else.
        OSError: when ``out`` cannot be written to, or another process has it.

    Examples:
        >>> import tempfile
        >>> size = {"shape": (32, 32, 24), "spacing": (1.2, 1.0, 1.8)}
        >>> folder = write_phantoms(tempfile.mkdtemp(), count=2, layout="msd", **size)
        >>> sorted(path.name for path in folder.iterdir())
        ['README.txt', 'dataset.json', 'imagesTr', 'labelsTr']
    """
    expect(layout in _DEFAULTS, f"layout: expected one of {', '.join(_DEFAULTS)}, found {layout!r}")
    for name, value, least in (("count", count, 1), ("workers", workers, 1), ("seed", seed, 0)):
        expect(is_whole(value, least), f"{name}: expected {least} or more, found {value}")
    usual_shape, usual_spacing = _DEFAULTS[layout]
    settings = Settings(shape or usual_shape, spacing or usual_spacing, lesions, lesion_ml, malignant)
    sections = _sections(count, shares) if layout == "tdsc" else {"": range(count)}
    out = Path(out)
    _claim(out, {"layout": layout, "seed": seed, **asdict(settings), **sections})
    files = _tdsc_files if layout == "tdsc" else _msd_files
    cases = [
        _Case(*files(out / section, number), _seed(seed, number))
        for section, numbers in sections.items()
        for number in numbers
    ]
    with claimed(out):
        found = list(_each(partial(_make, settings), cases, workers))
        if layout == "msd":
            write_msd_index(out, [(case.image, case.mask) for case in cases])
            return out
        for section, numbers in sections.items():
            write_tdsc_tables(out / section, {number: found[number] for number in numbers})
    return out


def _make(settings: Settings, case: _Case) -> list[Lesion]:
    """Write image and mask of a case, unless both are there; give its lesions."""
    if case.image.is_file() and case.mask.is_file():
        return find_lesions(draw_breast(case.seed, settings))
    phantom = make_phantom(case.seed, **asdict(settings))
    for path, array in ((case.image, phantom.image), (case.mask, phantom.mask)):
        if path.name.endswith(".nrrd"):
            write_nrrd(path, array)
        else:
            write_nifti(path, array, settings.spacing)
    return phantom.lesions


def _each(make: partial[list[Lesion]], cases: Sequence[_Case], workers: int) -> Iterator[list[Lesion]]:
    progress = partial(tqdm, total=len(cases), desc="phantoms", unit="volume")
    if workers == 1:
        yield from progress(map(make, cases))
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with _one_thread_each(), ProcessPoolExecutor(min(workers, len(cases)), mp_context=context) as pool:
        yield from progress(pool.map(make, cases))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Give processes started inside one thread of linear algebra: several on the same cores starve."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0])


def _tdsc_files(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / "DATA" / f"DATA_{number:03d}.nrrd", folder / "MASK" / f"MASK_{number:03d}.nrrd"


def _msd_files(folder: Path, number: int) -> tuple[Path, Path]:
    name = f"phantom_{number:03d}.nii.gz"
    return folder / "imagesTr" / name, folder / "labelsTr" / name


def _sections(count: int, shares: Sequence[float]) -> dict[str, range]:
    """Share the numbers out by largest remainder; sections without cases are left out."""
    valid = are_numbers(shares, 3) and min(shares) >= 0 and sum(shares) > 0
    expect(valid, f"shares: expected three shares of Train, Validation and Test, found {shares}")
    exact = np.array(shares) / sum(shares) * count
    sizes = np.floor(exact).astype(int)
    sizes[np.argsort(sizes - exact, kind="stable")[: count - sizes.sum()]] += 1
    for needed, givers in ((0, (2, 1)), (1, (2, 0))):
        if count >= 2 and sizes[needed] == 0:
            sizes[max(givers, key=lambda giver: sizes[giver])] -= 1
            sizes[needed] += 1
    starts = np.cumsum(sizes) - sizes
    names = ("Train", "Validation", "Test")
    return {
        name: range(start, start + size)
        for name, start, size in zip(names, starts.tolist(), sizes.tolist(), strict=True)
        if size
    }


def _claim(out: Path, settings: dict) -> None:
    """Write README.txt with the settings, or find it as an earlier call with the same settings wrote it."""
    readme = out / "README.txt"
    described = json.dumps(settings, default=lambda numbers: [numbers.start, numbers.stop])
    text = (
        f"{SYNTHETIC}.\nNot for clinical use, and no evidence of anything clinical.\nSettings: {described}\n"
    )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if readme.is_file() and readme.read_text(encoding="utf-8") == text:
            return
        raise FileExistsError(
            f"{out} exists: expected an empty folder, or one written with the same settings"
        )
    with written_whole(readme) as beside:
        beside.write_text(text, encoding="utf-8")
