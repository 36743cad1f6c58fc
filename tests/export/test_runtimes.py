"""The runtimes give the same masks from one file, say what they are, and are refused in words."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import pytest
import torch
from monai.networks.nets import BasicUNet

from dckd_ext.export import predict, predict_source, runtimes, write_onnx
from dckd_ext.export.runtimes import load_network, onnx_metadata
from tests.conftest import ellipsoids, write_volume
from tests.export.test_predict import WHOLE

openvino = pytest.importorskip("openvino")
WINDOW = {**WHOLE, "window": {"roi_size": [16, 24, 16], "overlap": 0.25}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dckd" / "openvino"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = BasicUNet(3, 1, 2, (4, 4, 8, 8, 16, 4)).eval()
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    write_onnx(network, path, 1, [16, 24, 16], WINDOW)
    return path


def test_masks_agree_and_the_runtime_is_named(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Volumes larger and smaller than a window."""
    for number, shape in enumerate([(29, 40, 33), (11, 25, 16)]):
        write_volume(tmp_path / "in" / f"{number}.nii", ellipsoids(shape, number)[0])
    masks, said = {}, {}
    for runtime in ("onnxruntime", "openvino", "auto"):
        given = ([tmp_path / "in"], tmp_path / runtime, file, 1)
        assert predict.predict(*given, runtime=runtime) == {}
        said[runtime] = capsys.readouterr().out.splitlines()[0]
        masks[runtime] = [
            nib.load(path).get_fdata() for path in sorted((tmp_path / runtime).glob("*.nii.gz"))
        ]
    assert [mask.max() for mask in masks["auto"]] == [1, 1]
    for one, two, three in zip(*masks.values(), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(two, three)
    assert said["onnxruntime"].endswith(", float32, 1 thread")
    assert "ONNX Runtime 1." in said["onnxruntime"]
    assert "OpenVINO 20" in said["openvino"]
    assert said["auto"] == said["openvino"]


def test_float32_unless_asked(file: Path):
    """On a processor with bfloat16 OpenVINO takes it by itself."""
    x = np.random.default_rng(0).normal(size=(1, 1, 16, 24, 16)).astype(np.float32)
    exact = load_network(file, 1, "onnxruntime")(x)
    assert np.abs(load_network(file, 1, "openvino")(x) - exact).max() < 1e-4
    half = load_network(file, 1, "openvino", "bfloat16")
    assert ", bfloat16, " in half.runtime
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert 1e-4 < np.abs(half(x) - exact).max() < 0.5


def test_logits_are_the_caller_s(file: Path):
    """A second window does not change what the first one gave."""
    x = np.random.default_rng(0).normal(size=(1, 1, 16, 24, 16)).astype(np.float32)
    network = load_network(file, 1, "openvino")
    first = network(x)
    kept = first.copy()
    network(-x)
    np.testing.assert_array_equal(first, kept)


def test_the_compiled_network_is_kept(file: Path, cache: Path):
    x = np.ones((1, 1, 16, 24, 16), np.float32)
    expected = load_network(file, 1, "openvino")(x)
    (blob,) = cache.iterdir()
    assert cache.stat().st_mode & 0o77 == 0
    before = blob.stat()
    np.testing.assert_array_equal(load_network(file, 1, "openvino")(x), expected)
    assert blob.stat().st_mtime_ns == before.st_mtime_ns  # read, not written again
    with blob.open("r+b") as stream:  # one that was cut short is made anew
        stream.truncate(before.st_size // 2)
    np.testing.assert_array_equal(load_network(file, 1, "openvino")(x), expected)
    assert blob.stat().st_size >= before.st_size


def test_the_cache_is_bounded_and_not_needed(
    file: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runtimes, "_CACHE_MB", 2)
    cache.mkdir(parents=True)
    for number in range(4):
        path = cache / f"{number}.blob"
        path.write_bytes(bytes(2**20))
        os.utime(path, (number, number))
    load_network(file, 1, "openvino")
    assert sorted(path.name for path in cache.iterdir()) == ["2.blob", "3.blob"]
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    assert load_network(file, 1, "openvino")(np.ones((1, 1, 16, 24, 16), np.float32)).shape[1] == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"runtime": "torch"}, "runtime: expected auto, onnxruntime, openvino, found 'torch'"),
        ({"precision": "float16"}, "precision: expected float32, bfloat16, found 'float16'"),
        (
            {"runtime": "onnxruntime", "precision": "bfloat16"},
            "precision: ONNX Runtime computes in float32, found bfloat16: use openvino",
        ),
        ({"threads": -1}, "threads: expected 0"),
    ],
)
def test_options(options: dict, expected: str, file: Path):
    with pytest.raises(ValueError, match=expected):
        load_network(file, **options)


def test_windows_that_the_network_does_not_take(file: Path):
    with pytest.raises(ValueError, match=r"does not take windows of the shape \(1, 3, 16, 24, 16\)"):
        load_network(file, 1, "openvino")(np.ones((1, 3, 16, 24, 16), np.float32))


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        (["openvino"], "ONNX Runtime"),
        (["onnxruntime"], "OpenVINO"),
        (["openvino", "onnxruntime"], "neither openvino nor onnxruntime is installed: pip install"),
    ],
)
def test_what_is_installed(without: list[str], expected: str, file: Path, tmp_path: Path):
    """The shipped file, by itself."""
    lines = [f"sys.modules[{name!r}] = None" for name in without]
    arguments = ["a.nii", "--out", "out", "--threads", "1", "--model", str(file)]
    lines += [f"sys.argv[1:] = {arguments}", "runpy.run_path('shipped.py', run_name='__main__')"]
    (tmp_path / "shipped.py").write_text(predict_source())
    write_volume(tmp_path / "a.nii", ellipsoids((16, 24, 16), 0)[0])
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(["import runpy, sys", *lines])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if len(without) == 2 else 0)


def test_metadata_are_those_of_onnx(tmp_path: Path):
    """Against the onnx package, with what comes before and after them in the file."""
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []), producer_name="p" * 300)
    values = {"dckd": '{"é": [1, 2]}', "empty": "", "long": "x" * 70000}
    onnx.helper.set_model_props(model, values)
    onnx.save(model, tmp_path / "a.onnx")
    assert onnx_metadata(tmp_path / "a.onnx") == values
    content = (tmp_path / "a.onnx").read_bytes()
    for cut in (1, 200, len(content) - 1):
        (tmp_path / "a.onnx").write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"a\.onnx: cannot be read as an ONNX network: "):
            onnx_metadata(tmp_path / "a.onnx")
