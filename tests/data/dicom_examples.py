"""DICOM files of known geometry, made with pydicom."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

MR = UID("1.2.840.10008.5.1.4.1.1.4")
ENHANCED_MR = UID("1.2.840.10008.5.1.4.1.1.4.1")
US_MULTI_FRAME = UID("1.2.840.10008.5.1.4.1.1.3.1")
ENHANCED_US_VOLUME = UID("1.2.840.10008.5.1.4.1.1.6.2")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def oblique(*edges: float) -> np.ndarray:
    """An affine (right, anterior, superior) of turned axes, right-handed in DICOM's coordinates too."""
    turn = nib.eulerangles.euler2mat(0.3, -0.2, 1.4)
    return nib.affines.from_matvec(turn @ np.diag(edges), [10.0, -20.0, 5.0])


def values(*shape: int, dtype: Any = np.int16) -> np.ndarray:
    """Voxels that all differ, as far as the type has so many values: `XYZ`."""
    return (np.random.default_rng(0).permutation(int(np.prod(shape))) % 250).astype(dtype).reshape(shape)


def image(kind: UID, stored: np.ndarray, **attributes: Any) -> Dataset:
    """A file of one frame, rows x columns, or several, with the attributes that every image has."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = kind
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    header.PatientName, header.PatientID = "Nobody^Knows", "secret-7"
    header.Modality = "US" if kind in (US_MULTI_FRAME, ENHANCED_US_VOLUME) else "MR"
    header.SeriesNumber, header.SeriesDescription, header.InstanceNumber = 3, "T1 MPRAGE", 1
    header.ImageType = ["ORIGINAL", "PRIMARY"]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * stored.dtype.itemsize
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        header.NumberOfFrames = len(stored)
    header.Rows, header.Columns = stored.shape[-2:]
    header.PixelData = np.ascontiguousarray(stored).tobytes()
    for key, value in attributes.items():
        setattr(header, key, value)
    return header


def slices(voxels: np.ndarray, affine: np.ndarray, **attributes: Any) -> list[Dataset]:
    """A single-frame series of a volume `XYZ`; the last slice comes first."""
    place = LPS @ affine
    edges = np.linalg.norm(place[:3, :3], axis=0)
    made = []
    for number in reversed(range(voxels.shape[2])):
        header = image(MR, voxels[..., number].T, FrameOfReferenceUID="1.2.3.9")
        header.InstanceNumber = number + 1
        header.ImagePositionPatient = texts(place[:3, 3] + number * place[:3, 2])
        header.ImageOrientationPatient = texts((place[:3, :2] / edges[:2]).T.ravel())
        header.PixelSpacing = texts(edges[1::-1])
        header.SliceThickness = texts(edges[2:])[0]
        for key, value in attributes.items():
            setattr(header, key, value)
        made.append(header)
    return made


def frames(kind: UID, voxels: np.ndarray, affine: np.ndarray, **attributes: Any) -> Dataset:
    """An enhanced multi-frame file of a volume `XYZ`."""
    place, of = LPS @ affine, "Volume" if kind == ENHANCED_US_VOLUME else ""
    word = "Volume" if of else "Patient"
    edges = np.linalg.norm(place[:3, :3], axis=0)
    header = image(kind, voxels.transpose(2, 1, 0), FrameOfReferenceUID="1.2.3.9", **attributes)
    turn = item(**{f"ImageOrientation{word}": (place[:3, :2] / edges[:2]).T.ravel().tolist()})
    measures = item(PixelSpacing=texts(edges[1::-1]), SliceThickness=texts(edges[2:])[0])
    header.SharedFunctionalGroupsSequence = [
        item(**{f"PlaneOrientation{of}Sequence": [turn], "PixelMeasuresSequence": [measures]})
    ]
    corners = [place[:3, 3] + number * place[:3, 2] for number in range(voxels.shape[2])]
    header.PerFrameFunctionalGroupsSequence = [
        item(**{f"PlanePosition{of}Sequence": [item(**{f"ImagePosition{word}": corner.tolist()})]})
        for corner in corners
    ]
    return header


def item(**attributes: Any) -> Dataset:
    made = Dataset()
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def texts(numbers: Iterable[float]) -> list[str]:
    """Decimals as files have them, of at most 16 characters."""
    return [f"{number:.9f}"[:16] for number in numbers]


def write(folder: Path, images: Dataset | Iterable[Dataset]) -> Path:
    """Write files as numbers without an ending, as scanners and archives do."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(list(folder.iterdir()))
    for number, header in enumerate([images] if isinstance(images, Dataset) else images, count):
        header.save_as(folder / f"IM{number:04}", enforce_file_format=True)
    return folder
