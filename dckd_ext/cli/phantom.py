"""`dckd phantom`: a folder of synthetic ABUS volumes."""

from __future__ import annotations

from dckd_ext.cli.values import Integer, IntegerOrNone, Integers, Numbers

__all__ = ["phantom"]


def phantom(
    out: str,
    *,
    count: Integer = 10,
    layout: str = "tdsc",
    seed: Integer = 0,
    shape: Integers | None = None,
    spacing: Numbers | None = None,
    lesions: IntegerOrNone = 1,
    lesion_ml: Numbers = (0.1, 9.0),
    malignant: float = 0.58,
    shares: Numbers = (0.5, 0.15, 0.35),
    workers: Integer = 1,
) -> None:
    """Write COUNT synthetic ABUS volumes with lesion masks to OUT: no patient data, no evidence of anything.

    An interrupted call can be repeated; the volumes that are there are kept.

    Args:
        out: a new or empty folder.
        count: number of volumes.
        layout: tdsc (NRRD, as the open ABUS set) or msd (NIfTI, as the Medical Segmentation Decathlon).
        seed: the same seed gives the same files.
        shape: voxels along lateral, depth, sweep; by default 865,682,354 (tdsc: minutes a volume) or
            128,128,96 (msd: about a second).
        spacing: mm; by default 0.2,0.073,0.475674 (tdsc) or 0.3,0.25,0.45 (msd).
        lesions: of each volume; 0 for none, None for one to three.
        lesion_ml: range of their volumes in ml; what does not fit in is made smaller.
        malignant: share of malignant lesions.
        shares: of Train, Validation and Test among the volumes (tdsc).
        workers: processes.
    """
    from dckd_ext.phantom import write_phantoms

    folder = write_phantoms(
        out, count, layout, seed, shape, spacing, lesions, lesion_ml, malignant, shares, workers
    )
    print(f"{count} synthetic volumes: {folder.resolve()}")
