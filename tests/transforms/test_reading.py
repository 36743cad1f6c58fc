import logging
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import torch
from monai.data import NrrdReader
from monai.transforms import EnsureChannelFirst, LoadImage

from dckd_ext.data import ABUS_MAX_EXTENT, ABUS_SPACING
from dckd_ext.data.volumes import _say_placeholder, read_voxels
from dckd_ext.transforms import ReadVolumed
from tests.conftest import write_volume
from tests.data.abus_files import write_nrrd

VOXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 7), dtype=np.uint8)
TURNED = {"space directions": np.array([[0, -0.3, 0], [0.2, 0, 0], [0, 0, 0.5]]), "space origin": [1, 2, 3]}


def read(path: Path, **arguments):
    return ReadVolumed("image", **arguments)({"image": str(path)})["image"]


def test_reads_like_monai(tmp_path: Path):
    image = write_volume(tmp_path / "a.nii.gz", np.random.default_rng(0).random((4, 5, 6)).astype(np.float32))
    data = ReadVolumed(keys=["image", "label"])({"image": str(image), "label": str(image), "case": "a"})
    theirs = LoadImage()(str(image))
    np.testing.assert_array_equal(data["image"], theirs)
    np.testing.assert_array_equal(data["image"].affine, theirs.affine)
    for key in ("original_affine", "spatial_shape", "space", "filename_or_obj"):
        assert str(data["image"].meta[key]) == str(theirs.meta[key])
    assert data["case"] == "a"


def test_reads_nrrd_like_monai_unless_told_otherwise(tmp_path: Path):
    path = write_nrrd(tmp_path / "a.nrrd", VOXELS, **TURNED)
    ours, theirs = read(path), LoadImage(reader=NrrdReader())(str(path))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(ours.affine, theirs.affine)
    assert ours.dtype == torch.float32


def test_channels_come_last(tmp_path: Path):
    series = np.random.default_rng(0).random((4, 5, 6, 2)).astype(np.float32)
    volume = EnsureChannelFirst()(read(write_volume(tmp_path / "a.nii.gz", series)))
    np.testing.assert_array_equal(volume, np.moveaxis(series, -1, 0))


def test_a_label_is_turned_onto_its_image_or_refused(tmp_path: Path):
    """The rule is that of dckd_ext.data.labels; the affine is the image's, so that nothing drifts apart."""
    image = write_volume(tmp_path / "image.nii", np.stack([VOXELS, VOXELS], axis=-1))
    label = write_volume(
        tmp_path / "label.nii", VOXELS[::-1] % 3, nib.affines.from_matvec(np.diag([-1.0, 1, 1]), [4.1, 0, 0])
    )
    load = ReadVolumed(["image", "label"])
    data = load({"image": str(image), "label": str(label)})
    np.testing.assert_array_equal(data["label"], VOXELS % 3)
    np.testing.assert_array_equal(data["label"].affine, data["image"].affine)
    write_volume(label, VOXELS[::-1] % 3, np.diag([-1, 1, 1, 1]))
    with pytest.raises(
        ValueError, match=r"label .*label\.nii: lies elsewhere than image .*image\.nii: a corner is 4 mm off"
    ):
        load({"image": str(image), "label": str(label)})


def test_doubts_are_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    nib.save(nib.Nifti1Image(VOXELS, None), tmp_path / "a.nii")
    for _ in range(2):
        read(tmp_path / "a.nii")
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'a.nii'}: neither sform nor qform is set")


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "a.nii"])
def test_uint8_stays_uint8_in_stored_order(tmp_path: Path, name: str):
    write = write_nrrd if name.endswith("nrrd") else write_volume
    volume = read(write(tmp_path / name, VOXELS), dtype=None)
    assert volume.dtype == torch.uint8
    assert volume.is_contiguous()
    np.testing.assert_array_equal(volume, VOXELS)


@pytest.mark.parametrize(
    ("header", "spacing"),
    [
        ({}, ABUS_SPACING),
        ({"space directions": -np.eye(3)}, ABUS_SPACING),
        ({"space directions": np.full((3, 3), np.nan)}, ABUS_SPACING),
        ({"space directions": np.diag([0.21, 0.08, 0.5]), "space origin": [1, 2, 3]}, (0.21, 0.08, 0.5)),
        (TURNED, (0.3, 0.2, 0.5)),
    ],
)
def test_placeholder_spacing(tmp_path: Path, header, spacing):
    path = write_nrrd(tmp_path / "a.nrrd", VOXELS, **header)
    volume = read(path, placeholder_spacing=ABUS_SPACING, dtype=None)
    np.testing.assert_allclose(volume.affine, np.diag([*spacing, 1]))
    np.testing.assert_array_equal(volume, VOXELS)  # neither flipped nor permuted


@pytest.mark.parametrize(
    ("header", "spacing"), [({}, (2, 3, 4)), ({"spacings": [0.2, 0.1, 0.5]}, (0.2, 0.1, 0.5))]
)
def test_header_without_directions(tmp_path: Path, header, spacing):
    path = str(tmp_path / "a.nrrd")
    nrrd.write(path, VOXELS, header)
    volume = read(path, placeholder_spacing=[2, 3, 4])
    np.testing.assert_allclose(volume.affine, np.diag([*spacing, 1]))


def test_no_spacing_at_all_is_refused(tmp_path: Path):
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS)
    with pytest.raises(ValueError, match=r"a\.nrrd: the NRRD header states no spacing"):
        read(tmp_path / "a.nrrd")
    nrrd.write(str(tmp_path / "b.nrrd"), VOXELS, {"spacings": [0.2, 0.1, 0.5]})
    np.testing.assert_allclose(np.abs(np.diag(read(tmp_path / "b.nrrd").affine)), [0.2, 0.1, 0.5, 1])


def test_nifti_keeps_its_own_spacing(tmp_path: Path):
    path = write_volume(tmp_path / "a.nii.gz", VOXELS)
    np.testing.assert_allclose(read(path, placeholder_spacing=ABUS_SPACING).affine, np.eye(4))


def test_one_warning_a_process(tmp_path: Path, caplog):
    _say_placeholder.cache_clear()
    paths = [str(write_nrrd(tmp_path / f"{name}.nrrd", VOXELS)) for name in "ab"]
    true = write_nrrd(tmp_path / "true.nrrd", VOXELS, **TURNED)
    with caplog.at_level(logging.WARNING):
        read(true, placeholder_spacing=ABUS_SPACING)
        assert not caplog.records
        for _ in range(2):
            reader = ReadVolumed(["image", "label"], placeholder_spacing=ABUS_SPACING)
            reader(dict(zip(("image", "label"), paths, strict=True)))
    assert len(caplog.records) == 1
    assert "0.2 x 0.073 x 0.475674 mm" in caplog.text
    assert "--nrrd_spacing" in caplog.text


@pytest.mark.parametrize("spacing", [[0.2, 0.1], [0.2, 0, 0.1], [0.2, -1, 0.1], [1, 1, np.nan], 0.4, "wide"])
def test_bad_spacing(spacing):
    with pytest.raises(
        ValueError, match=r"placeholder_spacing \(key nrrd_spacing\): expected three positive"
    ):
        ReadVolumed("image", placeholder_spacing=spacing)
    with pytest.raises(ValueError, match="max_extent: expected three positive"):
        ReadVolumed("image", max_extent=spacing)


def test_missing_file_is_named(tmp_path: Path):
    for name in ("gone.nii.gz", "gone.nrrd"):
        with pytest.raises(FileNotFoundError, match=rf"label: there is no file .*{name}"):
            ReadVolumed(keys="label")({"label": str(tmp_path / name)})


@pytest.mark.parametrize("name", ["cut.nii.gz", "cut.nrrd"])
@pytest.mark.parametrize("keep", [0, 10, 200, -50])
def test_truncated_file_is_named(tmp_path: Path, name: str, keep: int):
    write = write_nrrd if name.endswith("nrrd") else write_volume
    path = write(tmp_path / name, np.random.default_rng(0).random((9, 9, 9)))
    path.write_bytes(path.read_bytes()[:keep])
    reason = "the file is empty" if keep == 0 else "cannot be read: "
    with pytest.raises(ValueError, match=rf"image .*{name}: {reason}"):
        read(path)


def test_damaged_nrrd_is_named(tmp_path: Path):
    path = write_nrrd(tmp_path / "a.nrrd", VOXELS)
    content = bytearray(path.read_bytes())
    content[-60] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"image .*a\.nrrd: cannot be read: "):
        read(path)


def test_colour_and_series_are_refused(tmp_path: Path):
    colour = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(
        ValueError, match=r"a\.nii\.gz: expected one value a voxel, found a colour image \(RGB\)"
    ):
        read(tmp_path / "a.nii.gz", dtype=None)
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((3, 4, 5, 6), np.uint8))
    with pytest.raises(ValueError, match=r"a\.nrrd: expected a volume with three axes .*\(3, 4, 5, 6\)"):
        read(tmp_path / "a.nrrd", placeholder_spacing=ABUS_SPACING)


def test_other_byte_order(tmp_path: Path):
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS.astype(">i2"), {"endian": "big", "spacings": [1, 1, 1]})
    write_volume(tmp_path / "a.nii", VOXELS.astype(">i2"))
    for name in ("a.nrrd", "a.nii"):
        volume = read(tmp_path / name, dtype=None)
        assert volume.dtype == torch.int16
        np.testing.assert_array_equal(volume, VOXELS)


def test_extent(tmp_path: Path):
    wide = write_nrrd(tmp_path / "wide.nrrd", np.zeros((4, 60, 5), np.uint8))
    with pytest.raises(
        ValueError,
        match=r"image .*wide\.nrrd: 4 x 60 x 5 voxels of 1 x 2 x 3 mm extend over "
        r"4 x 120 x 15 mm, expected at most 200 x 60 x 250 mm .*wrong spacing, or exchanged axes",
    ):
        read(wide, placeholder_spacing=[1, 2, 3], max_extent=ABUS_MAX_EXTENT)
    assert read(wide, placeholder_spacing=[1, 1, 3], max_extent=ABUS_MAX_EXTENT).shape[1] == 60


def test_voxels_of_any_header(tmp_path: Path):
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS)
    write_volume(tmp_path / "a.nii.gz", VOXELS)
    for name in ("a.nrrd", "a.nii.gz"):
        voxels = read_voxels(tmp_path / name)
        assert voxels.dtype == np.uint8
        np.testing.assert_array_equal(voxels, VOXELS)
    with pytest.raises(FileNotFoundError, match=r"gone\.nrrd"):
        read_voxels(tmp_path / "gone.nrrd")


PEAK = """
import resource, sys
from monai.transforms import Compose, EnsureChannelFirstd
from dckd_ext.transforms import CheckVolumed, ReadVolumed
read = Compose([
    ReadVolumed(["image"], placeholder_spacing=[0.2, 0.073, 0.475674], dtype=None),
    EnsureChannelFirstd("image"),
    CheckVolumed(label_key="image", num_classes=256),
])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
read({"image": sys.argv[1]})
before = peak()
read({"image": sys.argv[2]})
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
@pytest.mark.parametrize("ending", ["nrrd", "nii.gz"])
def test_memory(tmp_path: Path, ending: str):
    write = write_nrrd if ending == "nrrd" else write_volume
    big = np.random.default_rng(0).integers(0, 128, (400, 300, 200), dtype=np.uint8)
    paths = write(tmp_path / f"small.{ending}", VOXELS), write(tmp_path / f"big.{ending}", big)
    result = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert int(result.stdout) <= 3.1 * big.nbytes
