#!/usr/bin/env bash
# SimpleITK 2.5.7 reads a DICOM SEG of several binary segments as one volume of all their frames, one segment on top of the other,
# with spacing 1 x 1 x 1 and the origin of no frame, and says nothing: which segment a frame is of, and where it lies, is in the
# functional groups that it leaves aside. Of a single segment whose frames follow each other it has the place right, so trying one
# segment shows no fault. highdicom (and dcmqi) have each frame where it says.
# Output seen:
#   SimpleITK 2.5.7, highdicom 0.28.2
#   source: 4 slices of 16 x 16, spacing 0.5 x 0.5 x 3, in each 4 voxels of segment 1 and 6 of segment 2
#   1 segment(s): SimpleITK has 4 frames, spacing 0.5 x 0.5 x 3; highdicom 4 planes, spacing 0.5 x 0.5 x 3
#   2 segment(s): SimpleITK has 8 frames, spacing 1 x 1 x 1; highdicom 4 planes, spacing 0.5 x 0.5 x 3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 highdicom==0.28.2 pydicom==3.0.2 numpy==2.3.5

"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import sys
from importlib.metadata import version
from pathlib import Path

import highdicom
import numpy as np
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

folder = Path(sys.argv[1])
uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}


def single_frame(number):
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = MRImageStorage
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    empty = "PatientName PatientID PatientBirthDate PatientSex AccessionNumber StudyID ReferringPhysicianName ScanOptions"
    day = "StudyDate SeriesDate AcquisitionDate ContentDate"
    time = "StudyTime SeriesTime AcquisitionTime ContentTime"
    values = {**dict.fromkeys(empty.split(), ""), **dict.fromkeys(day.split(), "20260101"), **uids}
    values |= {**dict.fromkeys(time.split(), "120000"), "Modality": "MR", "PatientPosition": "HFS"}
    values |= {"Manufacturer": "Example", "ManufacturerModelName": "1", "SoftwareVersions": "1"}
    values |= {"DeviceSerialNumber": "1", "BodyPartExamined": "HEAD", "PositionReferenceIndicator": ""}
    values |= {"SeriesNumber": 1, "InstanceNumber": number + 1, "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
    values |= {"ScanningSequence": "GR", "SequenceVariant": "NONE", "MRAcquisitionType": "3D", "EchoNumbers": 1}
    values |= {"EchoTime": "3", "RepetitionTime": "9", "EchoTrainLength": "1"}
    values |= {"ImagePositionPatient": [0, 0, 3 * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    values |= {"PixelSpacing": [0.5, 0.5], "SliceThickness": "3", "SamplesPerPixel": 1, "Rows": 16, "Columns": 16}
    values |= {"PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    values |= {"PixelRepresentation": 0, "WindowCenter": "50", "WindowWidth": "100"}
    for name, value in values.items():
        setattr(header, name, value)
    header.PixelData = np.zeros((16, 16), np.uint16).tobytes()
    return header


def segmentation(count):
    mask = np.zeros((4, 16, 16), np.uint8)
    mask[:, 2:4, 2:4] = 1
    if count == 2:
        mask[:, 9:11, 5:8] = 2
    algorithm = highdicom.AlgorithmIdentificationSequence("example", codes.DCM.ArtificialIntelligence, "1")
    segments = [
        highdicom.seg.SegmentDescription(
            number, f"segment {number}", codes.SCT.Tissue, codes.SCT.Tissue, "AUTOMATIC", algorithm
        )
        for number in range(1, count + 1)
    ]
    sources = [single_frame(number) for number in range(4)]
    names = {"manufacturer": "Example", "manufacturer_model_name": "1", "software_versions": "1"}
    made = highdicom.seg.Segmentation(
        sources, mask, "BINARY", segments, generate_uid(), 9, generate_uid(), 1, device_serial_number="1", **names
    )
    file = folder / f"{count}.dcm"
    made.save_as(file)
    return file


def text(spacing):
    return " x ".join(f"{edge:g}" for edge in spacing)


print(", ".join(f"{name} {version(name)}" for name in ("SimpleITK", "highdicom")))
print("source: 4 slices of 16 x 16, spacing 0.5 x 0.5 x 3, in each 4 voxels of segment 1 and 6 of segment 2")
found = []
for count in (1, 2):
    file = segmentation(count)
    image = SimpleITK.ReadImage(str(file))
    volume = highdicom.seg.segread(file).get_volume(combine_segments=True)
    found.append((image.GetSize()[2], image.GetSpacing(), volume.spatial_shape[0], volume.spacing[::-1]))
    frames, spacing, planes, right = found[-1]
    print(f"{count} segment(s): SimpleITK has {frames} frames, spacing {text(spacing)}; ", end="")
    print(f"highdicom {planes} planes, spacing {text(right)}")
edges, ones = (0.5, 0.5, 3.0), (1.0, 1.0, 1.0)
sys.exit(0 if found == [(4, edges, 4, edges), (8, ones, 4, edges)] else 1)
PYTHON
