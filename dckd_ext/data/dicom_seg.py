"""Masks as DICOM SEG: binary segments with codes, in the patient and study of the series that they belong to.

`dckd_ext.export.predict`, which is shipped by itself, takes this module along.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dckd_ext.data.dicom_files import dicom_package, opened, quiet_pydicom
from dckd_ext.data.dicom_series import Series

__all__ = ["write_segmentation"]

_REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName"),
)
"""A DICOM SEG has them, empty where the source has none."""
_SCHEME = "99DCKD"  # private, as those that begin with 99 are
_TISSUE = ("85756007", "SCT", "Tissue")
_SERIES_NUMBER = 1000  # above that of the source


def write_segmentation(
    file: Path, mask: np.ndarray, series: Series, affine: np.ndarray, settings: Mapping[str, Any]
) -> None:
    """Write a mask as DICOM SEG.

    Frames without a segment are left out, and each refers to its source image. Where the source states no
    place in the patient (ultrasound), the SEG has ``affine`` in a frame of reference of its own.

    Args:
        file: to write.
        mask: classes, uint8, in the shape of the series.
        series: that was segmented.
        affine: of the volume as it was read, to mm (right, anterior, superior).
        settings: ``classes``, and where there are ``segments``, ``bundle`` and ``version``.

    Raises:
        ValueError: when highdicom or pydicom is not installed.
    """
    highdicom = dicom_package("highdicom")
    with quiet_pydicom():
        sources = _sources(series)
        order = np.arange(len(series.planes))
        if series.planes[0].frame != series.planes[-1].frame:  # one file, whose frames come in stored order
            order = np.argsort([plane.frame for plane in series.planes])
            _place_frames(sources[0], affine, order)
        segmentation = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=mask.transpose(2, 1, 0)[order],
            segmentation_type="BINARY",
            segment_descriptions=[*_segments(settings)],
            series_instance_uid=highdicom.UID(),
            series_number=_SERIES_NUMBER + int(series.number or 0),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="DCKD bundles",
            manufacturer_model_name=_model(settings),
            software_versions=_version(settings),
            device_serial_number="1",
            content_label="SEGMENTATION",
            content_creator_name="",
            content_description="Research only, not for diagnosis",
            series_description=f"{_model(settings)[:40]}, research only",
        )
        segmentation.save_as(file)


def _segments(settings: Mapping[str, Any]) -> Iterator[Any]:
    highdicom, code = dicom_package("highdicom"), dicom_package("pydicom.sr.coding").Code
    algorithm = highdicom.AlgorithmIdentificationSequence(
        _model(settings), code("123109", "DCM", "Artificial Intelligence"), _version(settings)
    )
    for number, name in enumerate(settings["classes"][1:], 1):
        segment = settings.get("segments", {}).get(name, {})
        regions = [code(*segment["region"])] if "region" in segment else None
        description = highdicom.seg.SegmentDescription(
            *(number, segment.get("label", name)[:64]),
            code(*segment.get("category", _TISSUE)),
            code(*segment.get("type", (f"CLASS{number}", _SCHEME, name[:64]))),
            "AUTOMATIC",
            algorithm,
            anatomic_regions=regions,
            display_color=highdicom.color.CIELabColor.from_rgb(*_colour(number)),
        )
        if "modifier" in segment:
            modifier = highdicom.sr.CodedConcept(*segment["modifier"])
            kind = description.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [modifier]
        yield description


def _sources(series: Series) -> list[Any]:
    """Read the headers of the source images, with what highdicom expects of them."""
    pydicom, uid = dicom_package("pydicom"), dicom_package("pydicom.uid").generate_uid()
    headers = []
    with opened(series.root) as open_file:
        for name in series.files:
            with open_file(name) as stream:
                header = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
            for keyword in _REQUIRED:
                setattr(header, keyword, _value(header, keyword))
            if not header.get("FrameOfReferenceUID"):
                header.FrameOfReferenceUID = uid
            headers.append(header)
    return headers


def _value(header: Any, keyword: str) -> Any:
    """Return a value; nothing for a date or time that is none, which highdicom would refuse."""
    value = header.get(keyword) or ""
    kind = {"Date": "DA", "Time": "TM"}.get(keyword[-4:])
    try:
        return getattr(dicom_package("pydicom.valuerep"), kind)(value) or "" if kind else value
    except ValueError:
        return ""


def _place_frames(header: Any, affine: np.ndarray, order: np.ndarray) -> None:
    """Say for every frame where it lies, in the one form that highdicom reads."""
    highdicom = dicom_package("highdicom")
    dataset = dicom_package("pydicom").Dataset
    place = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    edges = np.linalg.norm(place[:3, :3], axis=0)
    axes = place[:3, :2] / edges[:2]
    header.SharedFunctionalGroupsSequence = [dataset()]
    shared = header.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence = highdicom.PlaneOrientationSequence("PATIENT", axes.T.ravel().tolist())
    shared.PixelMeasuresSequence = highdicom.PixelMeasuresSequence(
        edges[1::-1].tolist(), slice_thickness=edges[2], spacing_between_slices=edges[2]
    )
    header.PerFrameFunctionalGroupsSequence = [dataset() for _ in order]
    for group, index in zip(header.PerFrameFunctionalGroupsSequence, order, strict=True):
        corner = place[:3, 3] + index * place[:3, 2]
        group.PlanePositionSequence = highdicom.PlanePositionSequence("PATIENT", corner.tolist())


def _colour(number: int) -> tuple[float, float, float]:
    """Return red, green and blue, up to 255: hues a golden section apart."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.75, 0.95)
    return 255 * red, 255 * green, 255 * blue


def _model(settings: Mapping[str, Any]) -> str:
    return str(settings.get("bundle") or "dckd_ext")[:64]


def _version(settings: Mapping[str, Any]) -> str:
    return str(settings.get("version") or "unknown")[:64]
