"""Exported networks give the bundle's logits at any size that they say they take."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from monai.networks.nets import BasicUNet

from dckd_ext.bundle import student_network
from dckd_ext.export import differences, write_onnx
from dckd_ext.export.networks import size_step
from dckd_ext.networks import HRNet3D, load_weights

Exported = Callable[..., Path]
STUDENTS = [
    (kind, family) for family in ("hippocampus", "abus") for kind in ("unet_student", "hrnet_student")
]
ODD = [(1, 33, 51, 35), (2, 17, 40, 29), (1, 49, 16, 23)]
EVEN = [(1, 32, 48, 32), (3, 16, 64, 32)]


def network_of(root: Path) -> torch.nn.Module:
    network = student_network(root)
    load_weights(network, root / "models" / "model.pt")
    return network.eval()


def image(size: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(size[0], 1, *size[1:], generator=torch.Generator().manual_seed(sum(size)))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "family"), STUDENTS)
def test_torchscript_at_five_sizes(kind: str, family: str, exported: Exported):
    root = exported(kind, family)
    network, script = network_of(root), torch.jit.load(root / "models" / "model.ts")
    for size in ODD + EVEN:
        with torch.inference_mode():
            torch.testing.assert_close(script(image(size)), network(image(size)), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "family"), STUDENTS)
def test_onnx_at_five_sizes(kind: str, family: str, exported: Exported):
    root = exported(kind, family)
    network = network_of(root)
    session = onnxruntime.InferenceSession(root / "models" / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 1, "x", "y", "z"]
    for size in ODD + EVEN:
        x = image(size)
        with torch.inference_mode():
            expected = network(x).numpy()
        (found,) = session.run(None, {"image": x.numpy()})
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


def test_differences_are_those_of_the_logits():
    """Against a network whose logits are off by a known amount at one voxel of one size."""
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    network.load_state_dict({**network.state_dict(), "bias": torch.tensor([10.0, 0.0])})  # class 0 everywhere

    def off(x: torch.Tensor) -> torch.Tensor:
        logits = network(x).clone()
        if x.shape[-1] == 40:  # 33 padded to a multiple of 8
            logits[0, 1, 0, 0, 32] += 100.0
        return logits

    rows = differences(network, off, 1, (4, 4, 8), [(1, 8, 8, 8), (2, 5, 6, 33)])
    assert [row["padded"] for row in rows] == [[8, 8, 8], [8, 8, 40]]
    assert rows[0]["max_difference"] == 0
    assert rows[1]["max_difference"] == pytest.approx(100, abs=1e-3)
    assert 0 < rows[1]["classes_differing"] <= 1 / (2 * 5 * 6 * 33)
    beyond = differences(network, off, 1, (4, 4, 8), [(1, 5, 6, 34)])  # what was padded is cropped
    assert beyond[0]["max_difference"] == pytest.approx(100, abs=1e-3)


def test_steps_of_sizes():
    assert size_step(BasicUNet(3, 1, 2, (2, 2, 2, 2, 2, 2)), [32, 40, 31]) == [1, 1, 1]
    assert size_step(HRNet3D(1, 2, 2, (1,), 1, (2, 4)), [33, 48, 31]) == [1, 1, 1]
    assert size_step(torch.nn.Conv3d(1, 2, 1), [33, 48, 31]) == [33, 48, 31]


@pytest.mark.parametrize("traced", [(32, 48, 32), (40, 57, 39)])
def test_onnx_of_a_unet_takes_any_size_and_leaves_it_as_it_was(traced: tuple[int, ...], tmp_path: Path):
    network = BasicUNet(3, 1, 2, (4, 4, 8, 8, 16, 4)).eval()
    x = image((1, 33, 51, 35))
    with torch.inference_mode():
        expected = network(x).numpy()
    write_onnx(network, tmp_path / "model.onnx", 1, traced, {})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": x.numpy()})[0], expected, atol=1e-4)
    assert all("forward" not in vars(module) for module in network.modules())


def _by_onnxruntime(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"image": x})[0]


def _by_openvino(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: np.array(model(x)[0])


RUNTIMES = {"onnxruntime": _by_onnxruntime, "openvino": _by_openvino}


def windows(size: tuple[int, ...]) -> dict[str, np.ndarray]:
    """What a norm's sums go wrong on: no variance, a border of one value, a mean of many deviations."""
    noise = np.random.default_rng(0).normal(size=(1, 1, *size)).astype(np.float32)
    dark = noise.copy()
    dark[:, :, : size[0] // 3] = dark[..., -size[2] // 3 :] = -1.5
    return {"uniform": np.full_like(noise, 1.3), "dark border": dark, "offset": noise + 100}


@pytest.mark.parametrize(
    ("network", "size"),
    [
        (BasicUNet(3, 1, 2, (2, 2, 2, 2, 2, 2)), (96, 128, 96)),
        (HRNet3D(1, 2, 4, (2,), 1, (4, 4)), (64, 64, 48)),
    ],
    ids=["BasicUNet", "HRNet3D"],
)
def test_norms_of_large_windows(network: torch.nn.Module, size: tuple[int, ...], tmp_path: Path):
    """Against float64. As the runtimes' own norms they are off by 2e-3 to 0.2 here."""
    write_onnx(network.eval(), tmp_path / "model.onnx", 1, [32, 48, 32], {})
    exact = copy.deepcopy(network).double()
    runs = {name: load(tmp_path / "model.onnx") for name, load in RUNTIMES.items()}
    for name, window in windows(size).items():
        with torch.inference_mode():
            expected = exact(torch.from_numpy(window).double()).numpy()
        most = 1e-4 * max(1, np.abs(expected).max())
        for runtime, run in runs.items():
            np.testing.assert_allclose(run(window), expected, rtol=0, atol=most, err_msg=f"{name}, {runtime}")


@pytest.mark.parametrize("affine", [True, False])
def test_the_written_norm_is_torch_s(affine: bool, tmp_path: Path):
    norm = torch.nn.InstanceNorm3d(3, affine=affine, eps=1e-3)
    if affine:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 5, 6, 7) * 4 + 2
    write_onnx(norm, tmp_path / "model.onnx", 3, [4, 4, 4], {})
    found = _by_onnxruntime(tmp_path / "model.onnx")(x.numpy())
    torch.testing.assert_close(torch.from_numpy(found), norm(x))
    assert "forward" not in vars(norm)


def test_settings_travel_in_the_file(tmp_path: Path):
    from dckd_ext.export.predict import KEY

    file = tmp_path / "model.onnx"
    settings = {"format": 2, "classes": ["Häm", "b"]}
    write_onnx(torch.nn.Conv3d(1, 2, 1), file, 1, [4, 4, 4], settings)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    import json

    assert json.loads(session.get_modelmeta().custom_metadata_map[KEY]) == settings
    write_onnx(torch.nn.Conv3d(1, 2, 1), file, 1, [4, 4, 4], {})  # a network alone
    assert KEY not in {entry.key for entry in onnx.load(file).metadata_props}
