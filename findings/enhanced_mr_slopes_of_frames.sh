#!/usr/bin/env bash
# SimpleITK 2.5.7 and dcm2niix 1.0.20260724: voxels of an enhanced MR file whose frames have rescale slopes of their own (Pixel Value
# Transformation in the per-frame functional groups, as the standard has it and scanners write it) are scaled by the slope of one
# frame, in all frames, and nothing is said. highdicom scales each frame by its own. The two do not even take the same frame.
# A series of single files with such slopes is read right by both.
# Output seen:
#   SimpleITK 2.5.7, dcm2niix 1.0.20260724, highdicom 0.28.2
#   stored 100 in every frame, slopes by height 2, 3, 5
#   highdicom: 200 300 500
#   SimpleITK: 500 500 500
#   dcm2niix: 200 200 200
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 dcm2niix==1.0.20260724 highdicom==0.28.2 pydicom==3.0.2 \
    nibabel==5.4.2 numpy==2.3.5

"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import dcm2niix
import highdicom
import nibabel
import numpy as np
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SLOPES = (2, 3, 5)
folder = Path(sys.argv[1])
uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}


def single_frame(number, slope):
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
    values |= {"ImagePositionPatient": [0, 0, 2 * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    values |= {"PixelSpacing": [1, 1], "SliceThickness": "2", "SamplesPerPixel": 1, "Rows": 8, "Columns": 8}
    values |= {"PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    values |= {"PixelRepresentation": 0, "WindowCenter": "50", "WindowWidth": "100"}
    values |= {"RescaleSlope": str(slope), "RescaleIntercept": "0", "RescaleType": "US"}
    for name, value in values.items():
        setattr(header, name, value)
    header.PixelData = np.full((8, 8), 100, np.uint16).tobytes()
    return header


enhanced = highdicom.legacy.LegacyConvertedEnhancedMRImage(
    [single_frame(number, slope) for number, slope in enumerate(SLOPES)], generate_uid(), 2, generate_uid(), 1
)
own = [group.PixelValueTransformationSequence[0].RescaleSlope for group in enhanced.PerFrameFunctionalGroupsSequence]
assert sorted(own) == sorted(SLOPES)
for name in ("in", "out"):
    (folder / name).mkdir()
file = folder / "in" / "enhanced.dcm"
enhanced.save_as(file)

volume = highdicom.imread(file).get_volume()
upwards = volume.affine[2, 0] > 0
image = SimpleITK.ReadImage(str(file))
subprocess.run([dcm2niix.bin, "-b", "n", "-o", folder / "out", folder / "in"], check=True, capture_output=True)
converted = nibabel.load(next((folder / "out").glob("*.nii")))
found = {
    "highdicom": volume.array[:: 1 if upwards else -1, 0, 0],
    "SimpleITK": SimpleITK.GetArrayFromImage(image)[:, 0, 0][:: 1 if image.GetDirection()[8] > 0 else -1],
    "dcm2niix": converted.get_fdata()[0, 0, :: 1 if converted.affine[2, 2] > 0 else -1],
}
print(", ".join(f"{name} {version(name)}" for name in ("SimpleITK", "dcm2niix", "highdicom")))
print("stored 100 in every frame, slopes by height", ", ".join(map(str, SLOPES)))
for name, values in found.items():
    print(f"{name}:", *(f"{value:g}" for value in values))
right = [100 * slope for slope in SLOPES]
alike = [len(set(found[name])) == 1 for name in ("SimpleITK", "dcm2niix")]
sys.exit(0 if list(found["highdicom"]) == right and all(alike) else 1)
PYTHON
