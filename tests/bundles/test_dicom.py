"""The shipped bundles on DICOM series: the mask of the same volume as NIfTI, and a DICOM SEG."""

from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np

from tests.conftest import ellipsoids, workflow, write_volume
from tests.data.dicom_examples import LPS, slices, write

AFFINE = LPS @ np.diag([1.0, 1.2, 1.5, 1.0])


def test_a_series_is_segmented_as_the_same_volume(tmp_path: Path):
    volume = ellipsoids((34, 40, 22), 0)[0].clip(0, 3000).astype(np.int16)
    write(tmp_path / "study", slices(volume, AFFINE))
    write(tmp_path / "study", slices(volume, AFFINE, SeriesInstanceUID="1.2.3.5", SeriesNumber=4))
    write_volume(tmp_path / "a.nii.gz", volume, AFFINE)
    for source in ("study/3_T1_MPRAGE", "a.nii.gz"):
        workflow(
            "unet_student_segmentation",
            "inference.yaml",
            "inference",
            dataset_dir=str(tmp_path / source),
            output_dir=str(tmp_path / "out"),
            device="cpu",
            overlap=0.0,
        ).run()
    names = ["3_T1_MPRAGE_seg.dcm", "3_T1_MPRAGE_seg.nii.gz", "a_seg.nii.gz"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    one, two = (nib.load(tmp_path / "out" / name) for name in names[1:])
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(two.dataobj))
    np.testing.assert_allclose(one.affine, two.affine, atol=1e-6)
    found = highdicom.seg.segread(tmp_path / "out" / names[0])
    labels = [segment.SegmentLabel for segment in found.SegmentSequence]
    assert labels == ["Anterior hippocampus", "Posterior hippocampus"]
    assert found.pixel_array.sum() == np.count_nonzero(np.asarray(one.dataobj)) > 0
