"""Writing the scene as other programs write volumes, and damaging the files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np

from tests.inputs.scene import WINDOW, scene, turned

Array = np.ndarray


@dataclass(frozen=True)
class File:
    """How image or label of the scene is stored.

    Attributes:
        ending: of the file; NRRD for .nrrd and .nhdr.
        shape: stored to the right, front and top, before the axes are turned.
        axcodes: of the stored axes.
        rotation: of the world, Euler angles.
        move: of the affine, after that: a header that contradicts the voxels.
        scale: of the affine, for another unit.
        change: what becomes of the voxels.
        harm: what becomes of the file.
        codes: of sform and qform; a code of 0 leaves the form out.
        qform: if it is not the affine.
        kind: of NIfTI.
        endian: of NIfTI.
        dtype: of the voxels in NIfTI, if nibabel has to scale them.
        fields: of the header.
        space: of NRRD; None leaves it out.
    """

    ending: str = ".nii.gz"
    shape: tuple[int, int, int] = WINDOW
    axcodes: str = "RAS"
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    move: Array = field(default_factory=lambda: np.eye(4))
    scale: float = 1.0
    change: Callable[[Array], Array] = lambda voxels: voxels
    harm: Callable[[Path], None] = lambda path: None
    codes: tuple[int, int] = (1, 1)
    qform: Array | None = None
    kind: Any = nib.Nifti1Image
    endian: str = "<"
    dtype: Any = None
    fields: dict[str, Any] = field(default_factory=dict)
    space: str | None = "left-posterior-superior"

    def volume(self, which: str) -> tuple[Array, Array]:
        """The voxels, before anything is done to them, and the affine in mm."""
        image, classes, affine = scene(self.shape)
        affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(*self.rotation)) @ affine
        return turned(image if which == "image" else classes, affine, self.axcodes)

    def write(self, stem: Path, which: str) -> Path:
        """Write "image" or "label" to a path without an ending; return the file."""
        voxels, affine = self.volume(which)
        affine = np.diag([*[self.scale] * 3, 1]) @ self.move @ affine
        path = stem.with_name(stem.name + self.ending)
        is_nrrd = self.ending.lower() in (".nrrd", ".nhdr")
        (self._write_nrrd if is_nrrd else self._write_nifti)(path, self.change(voxels), affine)
        self.harm(path)
        return path

    def _write_nifti(self, path: Path, voxels: Array, affine: Array) -> None:
        header = self.kind.header_class(endianness=self.endian)
        header.set_data_dtype(voxels.dtype if self.dtype is None else self.dtype)
        image = self.kind(voxels, None, header)
        image.header["pixdim"][1:4] = nib.affines.voxel_sizes(affine)
        sform, qform = self.codes
        if qform:
            image.header.set_qform(affine if self.qform is None else self.qform, qform)
        if sform:
            image.header.set_sform(affine, sform)
        for name, value in self.fields.items():
            image.header[name] = value
        nib.save(image, path)

    def _write_nrrd(self, path: Path, voxels: Array, affine: Array) -> None:
        words = (self.space or "L-P-S").lower()
        letters = [word[0] for word in words.split("-")] if "-" in words else list(words)
        stored = np.diag([*(1 if letter in "ras" else -1 for letter in letters[:3]), 1]) @ affine
        place = {"space": self.space} if self.space else {"space dimension": 3}
        place |= {"space directions": stored[:3, :3].T, "space origin": stored[:3, 3]}
        header = {key: value for key, value in {**place, **self.fields}.items() if value is not None}
        nrrd.write(str(path), voxels, header, detached_header=path.suffix == ".nhdr")


def damage(where: str) -> Callable[[Path], None]:
    """Harm a compressed file, made anew of stored blocks: in these the check sum alone can be wrong."""

    def harm(path: Path) -> None:
        content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
        if where == "cut":
            del content[len(content) // 2 :]
        elif where == "trailer":
            del content[-3:]
        else:
            content[{"check sum": -6, "length": -2, "byte": len(content) // 2}[where]] ^= 1
        path.write_bytes(content)

    return harm


def replaced(old: bytes, new: bytes) -> Callable[[Path], None]:
    """Put other bytes in the place of some in the file, once."""

    def harm(path: Path) -> None:
        content = path.read_bytes()
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))

    return harm


def emptied(path: Path) -> None:
    """Leave nothing in the file."""
    path.write_bytes(b"")


def claiming_terabytes(path: Path) -> None:
    """Claim a size in the header that the file cannot hold."""
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_data_dtype(np.float64)
    with gzip.open(path, "wb") as file:
        header.write_to(file)
        file.write(b"\0" * 1000)
