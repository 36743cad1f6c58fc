"""DICOM SEG: read back by highdicom and by dcmqi, where the image is and with what it says of itself."""

import json
import logging
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset

from dckd_ext.bundle import class_names, segments
from dckd_ext.data import dicom_files
from dckd_ext.data.dicom_seg import write_segmentation
from dckd_ext.data.dicom_series import choose_series
from dckd_ext.data.images import read_image
from tests.conftest import bundle
from tests.data.dicom_examples import (
    ENHANCED_MR,
    ENHANCED_US_VOLUME,
    LPS,
    US_MULTI_FRAME,
    frames,
    image,
    oblique,
    slices,
    values,
    write,
)

SETTINGS = {"classes": ["background", "anterior", "posterior"], "bundle": "some_bundle", "version": "0.2.0"}
VOXELS = values(11, 9, 7, dtype=np.uint8)
OBLIQUE = oblique(0.9, 0.7, 1.3)


def mask() -> np.ndarray:
    made = np.zeros(VOXELS.shape, np.uint8)
    made[2:5, 3:6, 2:4] = 1
    made[6, 6, 5] = 2
    return made


def segmented(
    folder: Path, images: Any, classes: np.ndarray, settings: Any = SETTINGS, **options: Any
) -> tuple[Path, np.ndarray]:
    """The SEG of the only series, and the affine that it was read with."""
    [series] = choose_series(write(folder / "in", images))
    affine = read_image(series.path, **options).affine
    write_segmentation(folder / "seg.dcm", classes, series, affine, settings)
    return folder / "seg.dcm", affine


def world(classes: np.ndarray, affine: np.ndarray) -> dict[int, np.ndarray]:
    """Coordinates of the voxels of every class, sorted."""
    found = {}
    for number in np.unique(classes[classes > 0]):
        places = nib.affines.apply_affine(affine, np.argwhere(classes == number)).round(3) + 0.0
        found[int(number)] = places[np.lexsort(places.T)]
    return found


def by_highdicom(file: Path) -> dict[int, np.ndarray]:
    volume = highdicom.seg.segread(file).get_volume(combine_segments=True)
    return world(volume.array, LPS @ volume.affine)


def by_dcmqi(file: Path) -> dict[int, np.ndarray]:
    out = file.with_name("dcmqi")
    out.mkdir()
    command = [Path(sysconfig.get_path("scripts")) / "segimage2itkimage", "--inputDICOM", file]
    command += ["--outputDirectory", out, "--outputType", "nii", "--mergeSegments"]
    subprocess.run(command, check=True, capture_output=True)
    [found] = out.glob("*.nii.gz")
    return world(np.asarray(nib.load(found).dataobj), nib.load(found).affine)


def reversed_frames() -> Dataset:
    return frames(ENHANCED_MR, VOXELS[..., ::-1], OBLIQUE @ np.diag([1, 1, -1, 1]))


def shuffled_frames() -> Dataset:
    header = frames(ENHANCED_MR, VOXELS, OBLIQUE)
    groups = header.PerFrameFunctionalGroupsSequence
    header.PerFrameFunctionalGroupsSequence = [groups[k] for k in (3, 1, 0, 6, 5, 2, 4)]
    return header


SOURCES: dict[str, Any] = {
    "slices": (lambda: slices(VOXELS, OBLIQUE), {}),
    "enhanced": (lambda: frames(ENHANCED_MR, VOXELS, OBLIQUE), {}),
    "enhanced, downwards": (reversed_frames, {}),
    "enhanced, shuffled": (shuffled_frames, {}),
    "ultrasound volume": (lambda: frames(ENHANCED_US_VOLUME, VOXELS, OBLIQUE), {}),
    "ultrasound": (
        lambda: image(US_MULTI_FRAME, VOXELS.transpose(2, 1, 0)),
        {"nrrd_spacing": (0.2, 0.1, 0.5)},
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_other_readers_have_the_mask_where_the_image_is(source: str, tmp_path: Path):
    make, options = SOURCES[source]
    file, affine = segmented(tmp_path, make(), mask(), **options)
    expected = world(mask(), affine)
    for read in (by_highdicom, by_dcmqi):
        found = read(file)
        assert found.keys() == expected.keys()
        for number, places in expected.items():
            np.testing.assert_allclose(found[number], places, atol=2e-3, err_msg=read.__name__)


@pytest.mark.parametrize("source", ["slices", "enhanced, shuffled", "ultrasound"])
def test_frames_refer_to_the_images_that_they_are_of(source: str, tmp_path: Path):
    make, options = SOURCES[source]
    headers = make()
    file, _ = segmented(tmp_path, headers, mask(), **options)
    found = highdicom.seg.segread(file)
    stored = [header.pixel_array for header in headers] if isinstance(headers, list) else headers.pixel_array
    uids = [header.SOPInstanceUID for header in headers] if isinstance(headers, list) else None
    [series] = choose_series(tmp_path / "in")
    voxels = read_image(series.path, **options).voxels
    for group, pixels in zip(found.PerFrameFunctionalGroupsSequence, found.pixel_array, strict=True):
        [reference] = group.DerivationImageSequence[0].SourceImageSequence
        if uids:
            index = uids.index(reference.ReferencedSOPInstanceUID)
        else:
            assert reference.ReferencedSOPInstanceUID == headers.SOPInstanceUID
            index = int(reference.ReferencedFrameNumber) - 1
        number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        [plane] = [k for k in range(7) if np.array_equal(voxels[..., k].T, stored[index])]
        np.testing.assert_array_equal(pixels, number == mask()[..., plane].T)
    [referenced] = found.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == "1.2.3.4"
    assert len(referenced.ReferencedInstanceSequence) == (7 if uids else 1)


def code(sequence: Any) -> tuple[str, str, str]:
    [item] = sequence
    return item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning


@pytest.mark.parametrize(
    ("family", "number", "label", "kind", "modifier", "region"),
    [
        ("hippocampus", 1, "Anterior hippocampus", "5366008", ("255549009", "SCT", "Anterior"), None),
        ("hippocampus", 2, "Posterior hippocampus", "5366008", ("255551008", "SCT", "Posterior"), None),
        ("abus", 1, "Breast lesion", "52988006", None, ("76752008", "SCT", "Breast")),
    ],
)
def test_codes_of_the_shipped_bundles(
    family: str, number: int, label: str, kind: str, modifier: Any, region: Any, tmp_path: Path
):
    """As pydicom's dictionary of codes has them."""
    from pydicom.sr.codedict import codes

    root = bundle("unet_student_segmentation", family)
    classes = list(class_names(root).values())
    settings = {**SETTINGS, "classes": classes, "segments": segments(root)}
    classified = np.minimum(mask(), len(classes) - 1)
    file, _ = segmented(tmp_path, slices(VOXELS, OBLIQUE), classified, settings)
    found = highdicom.seg.segread(file).SegmentSequence[number - 1]
    assert found.SegmentLabel == label
    assert code(found.SegmentedPropertyTypeCodeSequence)[:2] == (kind, "SCT")
    known = {**{c.value: c.meaning for c in (codes.SCT.Hippocampus, codes.SCT.Lesion, codes.SCT.Breast)}}
    known |= {c.value: c.meaning for c in (codes.SCT.Anterior, codes.SCT.Posterior)}
    known |= {c.value: c.meaning for c in (codes.SCT.AnatomicalStructure,)}
    known |= {c.value: c.meaning for c in (codes.SCT.MorphologicallyAbnormalStructure,)}
    for segment in segments(root).values():
        for key, value in segment.items():
            assert key == "label" or known[value[0]] == value[2]
    if modifier:
        kinds = found.SegmentedPropertyTypeCodeSequence[0]
        assert code(kinds.SegmentedPropertyTypeModifierCodeSequence) == modifier
    if region:
        assert code(found.AnatomicRegionSequence) == region


def test_classes_without_codes_have_private_ones(tmp_path: Path):
    file, _ = segmented(tmp_path, slices(VOXELS, OBLIQUE), mask())
    found = highdicom.seg.segread(file)
    assert [segment.SegmentLabel for segment in found.SegmentSequence] == ["anterior", "posterior"]
    types = [code(segment.SegmentedPropertyTypeCodeSequence) for segment in found.SegmentSequence]
    assert types == [("CLASS1", "99DCKD", "anterior"), ("CLASS2", "99DCKD", "posterior")]
    colours = [tuple(segment.RecommendedDisplayCIELabValue) for segment in found.SegmentSequence]
    assert len(set(colours)) == 2
    algorithm = found.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("some_bundle", "0.2.0")
    assert (found.Modality, found.SeriesNumber, found.SegmentationType) == ("SEG", 1003, "BINARY")
    assert "esearch only" in found.SeriesDescription
    assert "esearch only" in found.ContentDescription


def test_patient_and_study_are_the_sources(tmp_path: Path):
    """Attributes that it lacks are empty, dates that are none too; other forbidden values stay."""
    headers = slices(VOXELS, OBLIQUE)
    with dicom_files.quiet_pydicom():
        for header in headers:
            del header.FrameOfReferenceUID
            header.PatientBirthDate, header.StudyID = "12.3.1950", "a" * 20
        file, _ = segmented(tmp_path, headers, mask())
        found = highdicom.seg.segread(file)
        assert found.StudyInstanceUID == "1.2.3"
        assert (found.PatientName, found.PatientID) == ("Nobody^Knows", "secret-7")
        assert (found.PatientBirthDate, found.StudyID, found.PatientSex) == ("", "a" * 20, "")
    assert by_highdicom(file).keys() == {1, 2}


def test_nothing_found_is_a_mask_too(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """And it is made without a word of highdicom's, also where logs are verbose, as in monai.bundle."""
    with caplog.at_level(logging.INFO):
        file, _ = segmented(tmp_path, slices(VOXELS, OBLIQUE), np.zeros_like(mask()))
    assert not caplog.messages
    assert not highdicom.seg.segread(file).pixel_array.any()


def test_what_metadata_can_say_of_segments(tmp_path: Path):
    root = shutil.copytree(bundle("unet_student_segmentation"), tmp_path / "copy")
    file = root / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    pred = metadata["network_data_format"]["outputs"]["pred"]
    pred["channel_def"]["2"] = "tail"  # a copy with other classes keeps no codes of theirs
    file.write_text(json.dumps(metadata))
    assert segments(root).keys() == {"anterior"}
    for wrong in ({"type": ["1", "SCT"]}, {"colour": "red"}, {"label": ["a", "b", "c"]}):
        pred["segments"]["anterior"] = wrong
        file.write_text(json.dumps(metadata))
        with pytest.raises(ValueError, match=r"segments#anterior' of .*copy: expected a label"):
            segments(root)
    del pred["segments"]
    file.write_text(json.dumps(metadata))
    assert segments(root) == {}
