"""Folders of images beside folders of labels, without a list of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dckd_ext.data.naming import without_ending
from dckd_ext.data.volumes import is_volume
from dckd_ext.utils.errors import listed

__all__ = ["IMAGES_AND_LABELS", "image_label_pairs", "pair_folders"]

IMAGES_AND_LABELS = (("images", "labels"), ("imagesTr", "labelsTr"))
"""Names of the two folders."""

_CHANNEL = re.compile(r"_(\d{4})$")  # nnU-Net's, of an image


def pair_folders(folder: Path) -> tuple[Path, Path] | None:
    """Return a folder's subfolders of images and of labels, or None if it has no such two."""
    pairs = [(folder / images, folder / labels) for images, labels in IMAGES_AND_LABELS]
    return next((pair for pair in pairs if all(map(Path.is_dir, pair))), None)


def image_label_pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Pair every image with the label of the same name, whatever their endings.

    As in nnU-Net's folders an image may also have ``_0000``, the number of its channel, after the name.

    Args:
        images: folder, searched with its subfolders.
        labels: folder with the same subfolders.

    Returns:
        Paths of image and label, sorted.

    Raises:
        ValueError: when there is no image, an image or a label has no partner or two, or an image is one
            of several channels; names them.
    """
    by_name = _files(labels)
    pairs, alone = [], []
    for name, image in _files(images).items():
        known = name if name in by_name else _CHANNEL.sub("", name)
        if known != name and known in by_name and int(name[-4:]):
            text = f"is channel {int(name[-4:])} of an image, expected images of one file each"
            raise ValueError(f"{image}: {text}")
        if known in by_name:
            pairs.append((image, by_name[known]))
        else:
            alone.append(image)
    if not pairs and not alone:
        raise ValueError(f"{images} holds no NIfTI or NRRD file")
    if alone:
        raise ValueError(
            f"{len(alone)} images have no label of the same name in {labels}: {listed(_texts(alone))}; "
            "images without labels belong into a folder of their own (--unlabelled_dir of a distillation)"
        )
    used = {label for _, label in pairs}
    if len(used) < len(pairs):
        twice = sorted(label for label in used if [label for _, each in pairs if each == label][1:])
        raise ValueError(f"{listed(_texts(twice))}: is the label of two images in {images}, by their names")
    if left := sorted(set(by_name.values()) - used):
        raise ValueError(
            f"{len(left)} labels have no image of the same name in {images}: {listed(_texts(left))}"
        )
    return sorted(pairs)


def _texts(files: Iterable[Path]) -> list[str]:
    return [str(file) for file in files]


def _files(folder: Path) -> dict[str, Path]:
    """Return the volumes of a folder by their paths in it, without endings."""
    found: dict[str, Path] = {}
    for file in sorted(filter(is_volume, folder.rglob("*"))):
        name = (file.parent / without_ending(file.name)).relative_to(folder).as_posix()
        if name in found:
            raise ValueError(f"{found[name]} and {file} differ in their ending alone: remove one")
        found[name] = file
    return found
