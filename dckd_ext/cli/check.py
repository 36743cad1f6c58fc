"""`dckd check DIR`: all that is wrong with a data set, before a training finds it out."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dckd_ext.cli.values import Integer, Numbers
from dckd_ext.utils.files import check_writable
from dckd_ext.utils.tables import write_table

if TYPE_CHECKING:
    from dckd_ext.data.survey import CaseSurvey, Listing, Problem

__all__ = ["check"]

_COLUMNS = (
    *("section", "case", "kind", "image", "label", "size", "spacing_mm"),
    *("foreground_voxels", "foreground_ml", "foreground_share", "problems", "warnings"),
)


def check(
    dataset_dir: str,
    *,
    nrrd_spacing: Numbers | None = None,
    out: str | None = None,
    bundle: str | None = None,
    classes: Integer | None = None,
    channels: Integer | None = None,
) -> None:
    """Check every case of a folder, print a summary and one line a problem; exit with 1 if there is any.

    Looked for: files that cannot be read to their end, images and masks without partner, masks of another
    shape or in another place than their image, NaN, mask values outside the classes, empty masks; in the
    layout of the open ABUS set also voxels other than uint8, volumes larger than a breast (wrong spacing or
    exchanged axes), and rows of labels.csv and bbx_labels.csv that do not fit the volumes or the masks.
    Warned of are headers that state two places or none, and images of one value only. One volume is in memory
    at a time.

    Of a folder or zip of DICOM files it lists the series, with what is wrong with each.

    Args:
        dataset_dir: a folder in the layout of the Medical Segmentation Decathlon or of the open ABUS set, or
            one of DICOM files.
        nrrd_spacing: mm along the stored axes, for NRRD files whose header states none or ones; by default
            0.2,0.073,0.475674 in the layout of the open ABUS set, and in the other what the header says.
        out: a CSV file to write, one row a case.
        bundle: folder of the bundle to train: its metadata says how many classes and channels there are.
        classes: of the masks, the background counted; by default those of the bundle, or of `labels` in
            dataset.json, or 2.
        channels: of the images; by default those of the bundle, or 1.

    Raises:
        FileNotFoundError: when the folder has neither layout.
        ValueError: when an option is not as it should be, or dataset.json cannot be understood.
        OSError: before the first case, when ``out`` cannot be written.
        SystemExit: with code 1 when there are problems.
        KeyboardInterrupt: at Ctrl-C, after the problems of the cases until then; no file is written.
    """
    from tqdm import tqdm

    from dckd_ext.data import ABUS_SPACING
    from dckd_ext.data.grids import three_positive
    from dckd_ext.data.survey import list_folder, survey_case

    classes, classes_of = _classes(dataset_dir, bundle, classes)
    if channels is None:
        channels = _channels(bundle)
    if classes < 2:
        raise ValueError(f"classes: found {classes}, expected at least 2, the background counted")
    if channels < 1:
        raise ValueError(f"channels: found {channels}, expected a whole number above 0")
    spacing = three_positive("nrrd_spacing", nrrd_spacing)
    try:
        listing = list_folder(dataset_dir)
    except FileNotFoundError:
        if not _list_series(Path(dataset_dir)):
            raise
        return
    if spacing is None and listing.layout == "tdsc":
        spacing = ABUS_SPACING
    jobs = [(section, case) for section, cases in listing.sections.items() for case in cases]
    if out:
        check_writable(out)
    cases: list[CaseSurvey] = []
    with suppress(KeyboardInterrupt):  # what was found until then is said
        for section, case in tqdm(jobs, unit="case", desc="check"):
            cases.append(survey_case(listing, section, case, classes, channels, spacing))
    problems = [*listing.problems, *(problem for case in cases for problem in case.problems)]
    warnings = [warning for case in cases for warning in case.warnings]
    print(_summary(listing, cases))
    print(f"classes: {classes} ({classes_of})")
    if warnings:
        print(f"\n{len(warnings)} warning(s)", *warnings, sep="\n")
    print(f"\n{len(problems)} problem(s)", *problems, sep="\n")
    if len(cases) < len(jobs):
        raise KeyboardInterrupt(f"{len(cases)} of {len(jobs)} cases are checked")
    if out:
        _write(Path(out), cases, listing.problems)
    if problems:
        sys.exit(1)


def _list_series(root: Path) -> bool:
    """Print a line for every DICOM series of a folder or zip; False if there is none."""
    from dckd_ext.data.dicom_series import find_series

    series = find_series(root) if root.exists() else ()
    for one in series:
        size = " x ".join(map(str, one.shape))
        edges = " x ".join("?" if edge is None else f"{edge:.4g}" for edge in one.spacing)
        print(f"{one.name}  {one.modality}  {size} voxels  {one.problem or f'of {edges} mm'}")
    return bool(series)


def _classes(dataset_dir: str, bundle: str | None, given: int | None) -> tuple[int, str]:
    """Return how many classes there are, and who says so."""
    if given is not None:
        return given, "--classes"
    if bundle is not None:
        from dckd_ext.bundle import class_names

        names = list(class_names(bundle).values())
        return len(names), f"{', '.join(names)}: metadata of {bundle}"
    from dckd_ext.data.msd import msd_labels

    if labels := msd_labels(dataset_dir):
        return len(labels), f"{', '.join(labels)}: dataset.json"
    return 2, "by default: --bundle or --classes says otherwise"


def _channels(bundle: str | None) -> int:
    if bundle is None:
        return 1
    from dckd_ext.bundle import in_channels

    return in_channels(bundle)


def _summary(listing: Listing, cases: Sequence[CaseSurvey]) -> str:
    """One line a section: cases, kinds, least to greatest size; least, median and greatest foreground."""
    head = ("section", "cases", "kinds", "size (voxels)", "foreground (ml)", "foreground (% of voxels)")
    rows = [head]
    for section in listing.sections:
        chosen = [case for case in cases if case.section == section]
        rows.append(
            (
                section,
                str(len(chosen)),
                _kinds(chosen),
                _sizes(chosen),
                _spread(chosen, lambda case: case.ml),
                _spread(chosen, lambda case: None if case.share is None else 100 * case.share),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _kinds(cases: Sequence[CaseSurvey]) -> str:
    kinds = [case.case.get("kind", "") for case in cases]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("M", "B") if kind in kinds) or "-"


def _sizes(cases: Sequence[CaseSurvey]) -> str:
    edges = list(zip(*(case.size for case in cases if case.size), strict=False))
    ends = [(min(edge), max(edge)) for edge in edges]
    return " x ".join(f"{low}-{high}" if low != high else str(low) for low, high in ends) or "-"


def _spread(cases: Sequence[CaseSurvey], value: Callable[[CaseSurvey], float | None]) -> str:
    values = [found for found in map(value, cases) if found is not None]
    if not values:
        return "-"
    return " / ".join(f"{number:.3g}" for number in (min(values), statistics.median(values), max(values)))


def _write(path: Path, cases: Sequence[CaseSurvey], others: Sequence[Problem]) -> None:
    # the others are of no case in particular: files without a partner, tables
    write_table(path, _COLUMNS, [*map(_row, cases), *({"problems": str(problem)} for problem in others)])


def _row(found: CaseSurvey) -> dict[str, object]:
    case = found.case
    return {
        "section": found.section,
        "case": case["case"],
        "kind": case.get("kind", ""),
        "image": case["image"],
        "label": case["label"],
        "size": "x".join(map(str, found.size)),
        "spacing_mm": "x".join(f"{edge:g}" for edge in found.spacing),
        "foreground_voxels": found.voxels,
        "foreground_ml": found.ml,
        "foreground_share": found.share,
        "problems": "; ".join(map(str, found.problems)),
        "warnings": "; ".join(map(str, found.warnings)),
    }
