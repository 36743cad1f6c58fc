"""`dckd segment BUNDLE IMAGES`: masks by a bundle's own inference, with torch."""

from __future__ import annotations

from dckd_ext.cli.values import ConfigValue

__all__ = ["segment"]


def segment(bundle: str, images: str, *, out: str, **options: ConfigValue) -> None:
    """Segment volumes by a bundle's own inference, with torch; the command for MONAI is printed.

    `dckd predict` does the same without torch. This runs the code of the bundle: use one that you trust
    (docs/security.md).

    Args:
        bundle: folder of the bundle.
        images: a folder of volumes, or one.
        out: folder of the masks.
        options: of its inference.yaml, such as ``--overlap 0.5``; `dckd segment BUNDLE --help`
            lists them.

    Raises:
        FileNotFoundError: if the folder or its inference config is missing.
        ValueError: before anything runs, if an option is none of the config, or not as it should be.
    """
    from dckd_ext.cli.workflows import run_workflow

    run_workflow("segment", bundle, {"dataset_dir": images, "output_dir": out, **options})
