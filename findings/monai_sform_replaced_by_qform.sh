#!/usr/bin/env bash
# monai 1.6.1 with nibabel 5.4.2: LoadImage gives a NIfTI volume another place and orientation than its header states, and says
# nothing. Where pixdim differs from the sform's voxel edges by more than a hundred-thousandth, as rounding in other programs
# leaves it, `correct_nifti_header_if_necessary` puts the qform in the place of the sform, though the qform's code is 0, "not
# set": axes to the left and back become axes to the right and front, and the origin becomes 0. nibabel takes the sform, as the
# standard has it.
# Output seen:
#   monai 1.6.1, nibabel 5.4.2
#   pixdim 1.0: nibabel LPS at [36, 49, 1], MONAI LPS at [36, 49, 1]
#   pixdim 1.000001: nibabel LPS at [36, 49, 1], MONAI LPS at [36, 49, 1]
#   pixdim 1.00002: nibabel LPS at [36, 49, 1], MONAI RAS at [0, 0, 0]
#   pixdim 1.0001: nibabel LPS at [36, 49, 1], MONAI RAS at [0, 0, 0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet monai==1.6.1 nibabel==5.4.2 numpy==2.3.5

"$folder/venv/bin/python" -W ignore - "$folder/volume.nii" <<'PYTHON'
import sys

import monai
import nibabel
import numpy as np

path = sys.argv[1]
sform = np.array([[-1, 0, 0, 36], [0, -1, 0, 49], [0, 0, 1, 1], [0, 0, 0, 1]])


def place(affine):
    affine = np.asarray(affine)
    return "".join(nibabel.aff2axcodes(affine)), np.round(affine[:3, 3]).astype(int).tolist()


def written(pixdim):
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.float32), None)
    image.header["pixdim"][1:4] = pixdim
    image.header.set_sform(sform, code=1)  # the qform's code stays 0
    nibabel.save(image, path)
    return place(nibabel.load(path).affine), place(monai.transforms.LoadImage()(path).affine)


print(f"monai {monai.__version__}, nibabel {nibabel.__version__}")
right, moved = ("LPS", [36, 49, 1]), ("RAS", [0, 0, 0])
seen = True
for pixdim, expected in ((1.0, right), (1.000001, right), (1.00002, moved), (1.0001, moved)):
    by_nibabel, by_monai = written(pixdim)
    texts = (f"{name} {axes} at {origin}" for name, (axes, origin) in (("nibabel", by_nibabel), ("MONAI", by_monai)))
    print(f"pixdim {pixdim}: {', '.join(texts)}")
    seen &= by_nibabel == right and by_monai == expected
sys.exit(0 if seen else 1)
PYTHON
