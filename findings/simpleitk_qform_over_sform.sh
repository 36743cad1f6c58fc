#!/usr/bin/env bash
# SimpleITK 2.5.7 (ITK 5.4) and nibabel 5.4.2 put the same NIfTI file in two places. Beside a qform (code above 0) ITK takes the
# sform if its code is 1 alone; with code 2 (aligned), 3 (Talairach) or 4 (MNI) it takes the qform, and nibabel, FSL and the
# standard's own advice take the sform. So a mask that is written with one form for an image that has two lies elsewhere in
# Slicer or ITK-SNAP than in nibabel. And ITK's voxel edges are pixdim's, whichever form it takes. Neither warns of the form.
# Output seen:
#   SimpleITK 2.5.7, nibabel 5.4.2
#   sform code 1, qform code 1: nibabel at [36, 49, 1], SimpleITK at [36, 49, 1]
#   sform code 2, qform code 1: nibabel at [36, 49, 1], SimpleITK at [5, 6, 7]
#   sform code 3, qform code 1: nibabel at [36, 49, 1], SimpleITK at [5, 6, 7]
#   sform code 4, qform code 1: nibabel at [36, 49, 1], SimpleITK at [5, 6, 7]
#   sform code 4, qform code 0: nibabel at [36, 49, 1], SimpleITK at [36, 49, 1]
#   sform of 1 mm, pixdim of 2 mm: nibabel 1.0 mm, SimpleITK 2.0 mm
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.3.5

"$folder/venv/bin/python" - "$folder/volume.nii" 2> "$folder/warnings" <<'PYTHON'
import sys

import nibabel
import numpy as np
import SimpleITK

path = sys.argv[1]
sform = np.array([[-1.0, 0, 0, 36], [0, -1, 0, 49], [0, 0, 1, 1], [0, 0, 0, 1]])
qform = np.array([[1.0, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])


def written(scode, qcode, pixdim=1.0):
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.float32), None)
    image.header.set_qform(qform, qcode)
    image.header.set_sform(sform, scode)
    image.header["pixdim"][1:4] = pixdim
    nibabel.save(image, path)
    return nibabel.load(path).affine, SimpleITK.ReadImage(path)


print(f"SimpleITK {SimpleITK.Version_VersionString()}, nibabel {nibabel.__version__}")
seen = True
for scode, qcode in ((1, 1), (2, 1), (3, 1), (4, 1), (4, 0)):
    affine, image = written(scode, qcode)
    by_nibabel = affine[:3, 3].astype(int).tolist()
    by_itk = np.round(np.multiply(image.GetOrigin(), (-1, -1, 1))).astype(int).tolist()  # ITK's axes go left and back
    print(f"sform code {scode}, qform code {qcode}: nibabel at {by_nibabel}, SimpleITK at {by_itk}")
    seen &= by_nibabel == [36, 49, 1] and by_itk == ([5, 6, 7] if scode > 1 and qcode else [36, 49, 1])
affine, image = written(1, 0, pixdim=2.0)
edges = nibabel.affines.voxel_sizes(affine)[0], image.GetSpacing()[0]
print(f"sform of 1 mm, pixdim of 2 mm: nibabel {edges[0]} mm, SimpleITK {edges[1]} mm")
sys.exit(0 if seen and edges == (1.0, 2.0) else 1)
PYTHON
