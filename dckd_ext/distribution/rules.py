"""What a bundle has to fulfil to be released: the model zoo's rules and a few of our own."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from dckd_ext.bundle import is_distillation
from dckd_ext.distribution.contents import file_problems
from dckd_ext.distribution.exports import export_problems
from dckd_ext.distribution.metadata import metadata_problems, name_problems
from dckd_ext.distribution.weight_files import network_problems

__all__ = ["violations"]


def violations(bundle: str | PathLike[str]) -> list[str]:
    """List every rule that a bundle violates, each with file, what was found and what is expected.

    The model zoo's rules: files, version in the changelog, required keys of the metadata, strict loading,
    `verify_net_in_out`, JSON indented by 4, 25 MB, sections of docs/README.md, no personal paths. Ours: names
    and versions survive MONAI's download, weights are finite plain tensors, and files are of known kinds, so
    that no data is released by mistake. A distillation bundle is a workflow: it has no weights, and its
    network is that of other bundles, so the rules for weights and network do not apply.

    The bundle's config is run, unless its name is none: check bundles that you trust.

    Examples:
        >>> violations("bundles/hippocampus_unet_student_segmentation")
        []

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    root = Path(bundle).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"No bundle folder at {root}")
    misnamed = list(name_problems(root))
    problems = [*misnamed, *file_problems(root), *metadata_problems(root)]
    if not misnamed and not is_distillation(root):
        problems += [*network_problems(root), *export_problems(root)]
    return problems
