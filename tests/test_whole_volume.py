"""A whole volume through the shipped inference, against MONAI's plain ones on a volume that fits."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from monai.inferers import SlidingWindowInferer
from monai.transforms import GaussianSmooth, NormalizeIntensity, Resize, ScaleIntensityRangePercentiles
from scipy.ndimage import gaussian_filter

from benchmarks.tables import as_markdown, summarise
from dckd_ext.data import ABUS_SPACING
from tests.conftest import workflow

SIZE = (200, 300, 90)
SPACING = 0.4
WINDOW = (48, 64, 48)

THERE_AND_BACK = """
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd
from dckd_ext.data import ABUS_SPACING
from dckd_ext.transforms import ResampleVolumed

def peak():  # ru_maxrss would start with that of the parent
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

before = peak()
volume = torch.ones(1, 865, 682, 354, dtype=torch.uint8)
resample = ResampleVolumed("image", 0.4)
item = resample({"image": MetaTensor(volume, affine=torch.diag(torch.tensor([*ABUS_SPACING, 1.0])))})
item["pred"] = MetaTensor(item["image"] > 0).to(torch.uint8)
assert Invertd("pred", resample, orig_keys="image")(item)["pred"].shape == volume.shape
print(peak() - before)
"""


def _volume(size: tuple[int, ...]) -> np.ndarray:
    """Speckle over dark and bright tissue of some millimetres."""
    rng = np.random.default_rng(0)
    tissue = gaussian_filter(rng.normal(size=size), [3.0 / spacing for spacing in ABUS_SPACING])
    level = 35 + 20 * tissue / tissue.std()
    return (level.clip(5) * rng.rayleigh(0.8, size)).clip(0, 255).astype(np.uint8)


class Blobs(torch.nn.Module):
    """Two classes by the sign of a smoothed image: blobs with edges that every voxel has a say in."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        smooth = F.avg_pool3d(image, 5, stride=1, padding=2, count_include_pad=False)
        return torch.cat([torch.full_like(smooth, 0.3), smooth], dim=1)


@pytest.fixture(scope="module")
def volume_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("abus") / "DATA_000.nrrd"
    nrrd.write(str(path), _volume(SIZE), compression_level=1)
    return path


def _by_the_bundle(path: Path, folder: Path) -> np.ndarray:
    torch.save(Blobs().state_dict(), folder / "model.pt")
    workflow(
        "unet_student_segmentation",
        "inference.yaml",
        "inference",
        family="abus",
        dataset_dir=str(path),
        output_dir=str(folder),
        checkpoint=str(folder / "model.pt"),
        network_def={"_target_": f"{__name__}.Blobs"},
        patch_size=list(WINDOW),
        device="cpu",
    ).run()
    written = nib.load(folder / "DATA_000_seg.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert np.allclose(written.affine, np.diag([*ABUS_SPACING, 1]), atol=1e-6)
    return np.asanyarray(written.dataobj)


def _plainly(volume: np.ndarray, network: Callable) -> np.ndarray:
    """At once and in float, with nothing but MONAI's own transforms."""
    size = [round(n * s / SPACING) for n, s in zip(volume.shape, ABUS_SPACING, strict=True)]
    sigma = [max(0.0, (n / m - 1) / 2) for n, m in zip(volume.shape, size, strict=True)]
    margin = 16  # MONAI smooths with zeros outside
    padded = np.pad(volume[None].astype(np.float32), [(0, 0), *[(margin, margin)] * 3], mode="edge")
    inside = (slice(None), *[slice(margin, -margin)] * 3)
    smooth = GaussianSmooth(sigma)(torch.from_numpy(padded))[inside]
    image = Resize(size, mode="trilinear", align_corners=False)(smooth)
    image = ScaleIntensityRangePercentiles(0.5, 99.5, 0.0, 1.0, clip=True)(image)
    inferer = SlidingWindowInferer(WINDOW, 1, 0.25, mode="gaussian", padding_mode="replicate")
    logits = inferer(NormalizeIntensity()(image)[None], network)
    classes = logits.argmax(dim=1)
    return Resize(volume.shape, mode="nearest-exact")(classes).numpy()[0]


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


@pytest.mark.slow
def test_whole_volumes_as_monai_would_segment_them(volume_file: Path, tmp_path: Path):
    with torch.no_grad():
        found = _by_the_bundle(volume_file, tmp_path)
        expected = _plainly(nrrd.read(str(volume_file))[0], Blobs())
    assert found.shape == expected.shape == SIZE
    assert 0.02 < expected.mean() < 0.98
    assert _dice(found, expected) >= 0.999
    shifted = np.roll(expected, 3, axis=1)  # 0.2 mm
    assert _dice(shifted, expected) < 0.999


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_full_volume_is_never_held_in_float():
    done = subprocess.run([sys.executable, "-c", THERE_AND_BACK], check=True, capture_output=True, text=True)
    assert 400 < float(done.stdout) < 800  # MB: in and out are 199 each, a float copy would be 797


def _result(network: str, size: float, network_seconds: float, read: float) -> dict:
    return {
        "network": network,
        "size": size,
        "voxels": int(size * 1_000_000),
        "windows": 4,
        "window_seconds": network_seconds / 4,
        "seconds": {"read": read, "network": network_seconds, "total": network_seconds + read},
        "peak_gb": 0.5,
        "budget_gb": 1.5,
        "load": 0.0,
    }


def test_the_benchmark_compares_with_the_teacher_and_fits_a_line():
    results = [_result("teacher", size, 16 * size, 1.0) for size in (1, 2, 3)]
    results += [_result("unet", size, 2 * size, 1.0) for size in (1, 2, 3)]
    summary = summarise(results)
    assert [s["student"] for s in summary["speedups"]] == ["unet"] * 3
    assert summary["speedups"][1]["total"] == pytest.approx(33 / 5)
    assert summary["speedups"][1]["size"] == 2
    line = next(x for x in summary["linear"] if (x["network"], x["part"]) == ("unet", "total"))
    assert line["seconds_per_million_voxels"] == pytest.approx(2)
    assert line["seconds_at_zero"] == pytest.approx(1)
    assert line["r2"] == pytest.approx(1)
    assert line["per_voxel_ratio"] == pytest.approx(3 / (7 / 3))
    text = as_markdown({"settings": {"dtype": "float32"}, "results": results, **summary})
    assert "| 2 | unet | 8.00 | 6.60 |" in text


def test_the_benchmark_of_one_network_and_size_has_nothing_to_compare():
    results = [_result("unet", 1, 2.0, 1.0)]
    summary = summarise(results)
    assert summary == {"speedups": [], "linear": []}
    assert "Times faster" not in as_markdown({"settings": {}, "results": results, **summary})
