"""The numpy steps of `dckd_ext.export.predict` against MONAI's transforms, and what it refuses."""

import ast
import copy
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.transforms import (
    Compose,
    NormalizeIntensity,
    Orientation,
    ScaleIntensityRangePercentiles,
)

from dckd_ext.export import predict as module
from dckd_ext.export import predict_source
from dckd_ext.transforms import ResampleVolumed, SpacingVolumed
from dckd_ext.utils import FolderInUseError, claimed
from tests.conftest import write_volume
from tests.utils.test_folders import holder

SHEARED = np.array([[1.0, 0.15, 0, 5], [0, 1.1, 0, 6], [-0.1, 0, 0.9, 7], [0, 0, 0, 1]])


def oblique(*spacing: float) -> np.ndarray:
    # as from a NIfTI header, whose float32 leaves axes that are not quite at right angles
    turn = nib.eulerangles.euler2mat(0.3, -0.2, 1.4)
    return (
        nib.affines.from_matvec(turn @ np.diag(spacing), [10.0, -200.0, 5.0]).astype(np.float32).astype(float)
    )


GRIDS = {
    "identity": np.eye(4),
    "flipped": np.diag([-1.2, -1, 1, 1]),
    "anisotropic": np.diag([0.4, 0.8, 3, 1]),
    "half": np.diag([0.5, 0.5, 0.5, 1]),
    "thirds": np.diag([1 / 3, 0.25, 2, 1]),
    "nearly_one": np.diag([1.0005, 0.9995, 1, 1]),
    "oblique": oblique(0.9, 0.7, 1.3),
    "oblique_half": oblique(0.5, 0.5, 0.5),
    "sheared": SHEARED,
}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def labels(like: Any) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, tuple(like), dtype=np.uint8)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("shape", [(13, 18, 11), (24, 7, 1)])
def test_orientation_and_spacing(grid: str, shape: tuple[int, int, int]):
    """There: within rounding of float32. Back: every voxel, those halfway between two included."""
    volume = noise(2, *shape)
    turn, resample = Orientation("RAS", labels=None), SpacingVolumed("image", [1.0, 1.0, 1.0])
    data = resample({"image": turn(MetaTensor(volume, affine=torch.tensor(GRIDS[grid])))})
    expected = data["image"]
    turned, affine, unturn = module._orientation(volume, GRIDS[grid], "RAS")
    found, affine, back = module._spacing(turned, affine, [1.0, 1.0, 1.0])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    np.testing.assert_allclose(affine, expected.affine, atol=1e-9)
    mask = labels(found.shape[1:])
    pred = MetaTensor(mask[None].astype(np.float32), meta=expected.meta)
    pred.applied_operations = [dict(step) for step in expected.applied_operations]
    pred.applied_operations[-1]["extra_info"] = {
        **expected.applied_operations[-1]["extra_info"],
        "mode": "nearest",
    }
    native = turn.inverse(resample.inverse({"image": pred})["image"])
    np.testing.assert_array_equal(unturn(back(mask)), native.numpy()[0])
    np.testing.assert_allclose(native.affine, GRIDS[grid])


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("edges", [(0.2, 0.1, 0.5), (0.4, 0.73, 0.31), (1.0, 1.0, 0.05)])
def test_resample(edges: tuple[float, ...], order: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dckd_ext.data.grids.CHUNK", 500)  # several parts
    volume = np.asarray(noise(1, 31, 40, 23).clip(0, 255).astype(dtype), order=order)
    affine = np.diag([*edges, 1.0])
    resample = ResampleVolumed("image", 0.4)
    data = resample({"image": MetaTensor(volume.copy(), affine=torch.tensor(affine))})
    found, moved, back = module._resample(volume, affine, [0.4, 0.4, 0.4])
    np.testing.assert_allclose(found, data["image"].numpy(), atol=2e-4)
    np.testing.assert_allclose(moved, data["image"].affine, atol=1e-12)
    mask = labels(found.shape[1:])
    prediction = MetaTensor(mask[None]).copy_meta_from(data["image"])
    prediction.applied_operations[-1]["extra_info"]["mode"] = "nearest"  # as Invertd has it
    np.testing.assert_array_equal(back(mask), resample.inverse({"image": prediction})["image"].numpy()[0])


@pytest.mark.parametrize("volume", [noise(1, 20, 21, 22), noise(2, 110, 100, 91), np.full((1, 9, 9, 9), 7.0)])
@pytest.mark.parametrize("clip", [False, True])
def test_intensities(volume: np.ndarray, clip: bool):
    """Over a million voxels MONAI takes other percentiles than below; a constant volume has none."""
    volume = volume.astype(np.float32)
    expected = Compose([ScaleIntensityRangePercentiles(0.5, 99.5, -1, 3, clip=clip), NormalizeIntensity()])
    scaled, affine, _ = module._percentiles(volume, np.eye(4), 0.5, 99.5, -1, 3, clip)
    found, _, _ = module._normalize(scaled, affine)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.asarray(expected(volume)), atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(*[st.integers(1, 22)] * 3),
    roi=st.tuples(*[st.integers(1, 12)] * 3),
    overlap=st.floats(0, 0.95),
)
def test_sliding_window(shape: Any, roi: Any, overlap: float):
    """With a network whose logits depend on the place in the window, so that the blending counts."""
    image = noise(1, *shape)
    ramp = np.linspace(-30, 30, int(np.prod(roi)), dtype=np.float32).reshape(roi)

    def network(windows: Any) -> np.ndarray:
        windows = np.asarray(windows)
        return np.concatenate([windows - 100, ramp + 0 * windows, windows[:, :, ::-1] - 100 - ramp], axis=1)

    expected = sliding_window_inference(
        torch.from_numpy(image)[None],
        roi,
        3,
        lambda x: torch.from_numpy(network(x)),
        overlap,
        "gaussian",
        padding_mode="replicate",
    )[0]
    found = module._sliding_window(image, network, roi, overlap)
    best = np.take_along_axis(expected.numpy(), found[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(best, expected.numpy().max(axis=0), atol=1e-3)  # a tie may go either way
    assert found.dtype == np.uint8


def test_windows_without_tissue_are_computed_once():
    """Air that is cut to one value, as around a breast; the masks are those of all windows, to the voxel."""
    image = noise(1, 40, 18, 40)
    image[:, 14:] = image.min()
    image[:, :, :, 30:] = image.min() - 1  # and another value beside it
    calls: list[np.ndarray] = []

    def network(windows: np.ndarray) -> np.ndarray:
        calls.append(windows.copy())
        ramp = np.linspace(-30, 30, windows[0, 0].size, dtype=np.float32).reshape(windows.shape[2:])
        return np.concatenate([windows - 80, ramp + 0 * windows], axis=1)

    found = module._sliding_window(image, network, (8, 18, 8), 0.5)
    expected = sliding_window_inference(
        *(torch.from_numpy(image)[None], (8, 18, 8), 1, lambda x: torch.from_numpy(network(x.numpy()))),
        *(0.5, "gaussian"),
    )[0]
    np.testing.assert_array_equal(found, expected.argmax(0).numpy())
    computed = calls[:-81]  # the oracle's come after
    uniform = sum((window == window.flat[0]).all() for window in calls[-81:])
    assert uniform == 39
    assert len(computed) == 81 - 28  # one a value, and again where the value changes on the way


# The module by itself


def test_imports():
    """The standard library, numpy, nibabel; a runtime when it is chosen, pynrrd where a NRRD file is read."""
    tree = ast.parse(predict_source())
    top = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in tree.body if _imports(n)}
    inside = {n.names[0].name for n in ast.walk(tree) if isinstance(n, ast.Import)} - top
    others = {str(name).partition(".")[0] for name in top} - set(sys.stdlib_module_names)
    assert others == {"numpy", "nibabel"}
    assert inside - set(sys.stdlib_module_names) == {"nrrd", "onnxruntime", "openvino"}


def test_the_shipped_file_has_every_name_once():
    """Two modules in one file must not take each other's names."""
    tree = ast.parse(predict_source())
    names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    names += [
        t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)
    ]
    assert {name for name in names if names.count(name) > 1} == set()
    assert {"read_volume", "resample_back", "written_whole", "claimed"} <= set(
        names
    )  # by construction, not a copy
    assert not any(isinstance(n, ast.ImportFrom) and "dckd_ext" in str(n.module) for n in ast.walk(tree))


def _imports(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_command_loads_no_torch():
    code = "import sys, dckd_ext.cli.predict; sys.exit(bool({'torch', 'monai', 'nrrd'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# What is refused


CONFIG: dict[str, Any] = {
    "channels": 1,
    "classes": ["background", "bright"],
    "read": {"dtype": "float32", "nrrd_spacing": None, "max_extent": None},
    "steps": [{"step": "orientation", "axcodes": "RAS"}, {"step": "spacing", "pixdim": [1.0, 1.0, 1.0]}],
    "window": {"roi_size": [8, 8, 8], "overlap": 0.5},
}


def bright(windows: np.ndarray) -> np.ndarray:
    return np.concatenate([np.full_like(windows, 100), windows], axis=1)


def run(path: Path, **read: Any) -> np.ndarray:
    return module.segment(path, bright, {**CONFIG, "read": {**CONFIG["read"], **read}})[0]


def colour() -> np.ndarray:
    return np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("array", "affine", "read", "expected"),
    [
        (noise(6, 6), np.eye(4), {}, r"expected a 3D volume, found the shape \(6, 6\)"),
        (noise(6, 6, 6, 2), np.eye(4), {}, r"found the shape \(6, 6, 6, 2\)"),
        (noise(6, 6, 6, 1, 3), np.eye(4), {}, r"found the shape \(6, 6, 6, 1, 3\)"),
        (np.full((5, 5, 5), np.nan, np.float32), np.eye(4), {}, "125 voxels are NaN or infinite"),
        (np.full((2, 2, 2), 1e300), np.eye(4), {}, "8 voxels are NaN or infinite"),
        (np.ones((5, 5, 5), np.complex64), np.eye(4), {}, "one real number a voxel, found complex64"),
        (colour(), np.eye(4), {}, "a colour image"),
        (noise(5, 5, 5), np.diag([1, 1, 0, 1]), {}, "an affine that can be inverted"),
        (
            noise(5, 5, 9),
            np.eye(4),
            {"max_extent": [8.0, 8.0, 8.0]},
            "5 x 5 x 9 mm, expected at most 8 x 8 x 8 mm",
        ),
    ],
)
def test_unfit_volumes(array: np.ndarray, affine: np.ndarray, read: Any, expected: str, tmp_path: Path):
    image = nib.Nifti1Image(array, None)
    image.header.set_sform(affine, code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match=expected):
        run(tmp_path / "a.nii.gz", **read)


def test_a_single_channel_may_have_an_axis(tmp_path: Path):
    volume = noise(9, 10, 11)
    one = run(write_volume(tmp_path / "a.nii", volume))
    np.testing.assert_array_equal(run(write_volume(tmp_path / "b.nii", volume[..., None])), one)
    assert 0 < one.mean() < 1


@pytest.mark.parametrize("cut", [0, 200, 2000])
def test_files_cut_short(cut: int, tmp_path: Path):
    path = write_volume(tmp_path / "a.nii.gz", noise(20, 20, 20))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="cannot be read" if cut else "the file is empty"):
        run(path)


def test_nrrd(tmp_path: Path):
    """Axes of a header count unless the bundle takes the order of the array for the geometry."""
    volume = noise(9, 10, 11)
    path = tmp_path / "a.nrrd"
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([2.0, 1, 1]),
        "space origin": [1, 2, 3],
    }
    nrrd.write(str(path), volume, header)
    _, image = module.segment(path, bright, CONFIG)
    np.testing.assert_array_equal(image.affine, [[-2, 0, 0, -1], [0, -1, 0, -2], [0, 0, 1, 3], [0, 0, 0, 1]])
    nrrd.write(str(path), volume, {**header, "space": "scanner-xyz"})
    with pytest.raises(ValueError, match="found scanner-xyz"):
        run(path)
    nrrd.write(str(path), volume)
    with pytest.raises(ValueError, match="states no spacing"):
        run(path)
    stored = {**CONFIG, "read": {**CONFIG["read"], "nrrd_spacing": [0.5, 1.0, 2.0]}}
    _, image = module.segment(path, bright, stored)
    np.testing.assert_array_equal(image.affine, np.diag([0.5, 1, 2, 1]))
    nrrd.write(str(path), volume[..., None])
    with pytest.raises(ValueError, match=r"found the sizes \(9, 10, 11, 1\)"):
        run(path)


def test_nrrd_without_pynrrd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nrrd.write(str(tmp_path / "a.nrrd"), noise(4, 4, 4))
    monkeypatch.setitem(sys.modules, "nrrd", None)
    with pytest.raises(ValueError, match="need the package pynrrd: pip install pynrrd"):
        run(tmp_path / "a.nrrd")


# Several files


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(
        module, "load_model", lambda *given: (module.Network(bright, "numpy"), copy.deepcopy(CONFIG))
    )
    return module.predict


def test_a_case_that_fails_costs_no_other(model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a.nii", "c.nii.gz"):
        write_volume(tmp_path / "in" / name, noise(9, 9, 9))
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"no")
    (tmp_path / "in" / ".hidden.nii").write_bytes(b"no")
    (tmp_path / "in" / "notes.txt").write_text("no")
    failed = model([tmp_path / "in"], tmp_path / "out", "m")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_seg.nii.gz", "c_seg.nii.gz"]
    assert list(failed) == [str(tmp_path / "in" / "b.nii.gz")]
    captured = capsys.readouterr()
    count = int((np.asarray(nib.load(tmp_path / "out" / "a_seg.nii.gz").dataobj) == 1).sum())
    assert f"voxels: bright {count}" in captured.out
    assert "b.nii.gz: failed: cannot be read" in captured.err
    assert captured.err.splitlines()[-1] == "1 of 3 cases failed, the others are done"


@pytest.mark.parametrize(
    ("files", "given", "expected"),
    [
        (["x/a.nii", "x/a.nii.gz"], ["x"], "x/a.nii and .*x/a.nii.gz cannot be told apart .* the case 'a'"),
        (["x/a.nii", "x/a.nrrd"], ["x"], "x/a.nii and .*x/a.nrrd cannot be told apart"),
        (["x/notes.txt"], ["x"], "x: expected volumes .*, found none"),
        (["x/notes.txt"], ["x/notes.txt"], "notes.txt: expected volumes"),
        ([], ["gone.nii"], "gone.nii: there is no such file or folder"),
        (["out/a.nii", "out/a_seg.nii.gz"], ["out"], "is an input and would be overwritten"),
    ],
)
def test_inputs_are_judged_before_anything_is_done(
    files: list[str], given: list[str], expected: str, model: Any, tmp_path: Path
):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ValueError, FileNotFoundError), match=expected):
        model([tmp_path / name for name in given], tmp_path / "out", "m")
    assert sorted(tmp_path.rglob("*")) == before


def test_masks_are_named_as_cases_are(model: Any, tmp_path: Path):
    files = [f"{site}/{number}/t1.nii" for site in ("oslo", "rome") for number in (1, 2)]
    volumes = [write_volume(tmp_path / file, noise(9, 9, 9)) for file in files]
    assert model(volumes, tmp_path / "out", "m") == {}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("oslo_1_seg.nii.gz", "oslo_2_seg.nii.gz", "rome_1_seg.nii.gz", "rome_2_seg.nii.gz")
    ]


def test_the_same_file_twice_is_one_case(model: Any, tmp_path: Path):
    path = write_volume(tmp_path / "in" / "a.nii", noise(9, 9, 9))
    assert model([path, tmp_path / "in"], tmp_path / "out", "m") == {}


def test_nothing_half_written(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_volume(tmp_path / "in" / "a.nii", noise(9, 9, 9))
    write_volume(tmp_path / "out" / "a_seg.nii.gz", np.ones((2, 2, 2), np.uint8))
    before = (tmp_path / "out" / "a_seg.nii.gz").read_bytes()

    def full(image: Any, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.nibabel, "save", full)
    failed = model([path], tmp_path / "out", "m", existing="replace")
    assert "No space left" in next(iter(failed.values()))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a_seg.nii.gz"]
    assert (tmp_path / "out" / "a_seg.nii.gz").read_bytes() == before


def test_masks_that_are_there_are_never_replaced_silently(
    model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("a.nii", "b.nii"):
        write_volume(tmp_path / "in" / name, noise(9, 9, 9))
    old, new = (tmp_path / "out" / f"{name}_seg.nii.gz" for name in "ab")
    old.parent.mkdir()
    old.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"1 of 2 masks are there already, such as .*a_seg\.nii\.gz: choose"):
        model([tmp_path / "in"], tmp_path / "out", "m")
    assert not new.exists()
    with pytest.raises(ValueError, match="existing: expected refuse, skip, replace, found 'keep'"):
        model([tmp_path / "in"], tmp_path / "out", "m", existing="keep")
    assert model([tmp_path / "in"], tmp_path / "out", "m", existing="skip") == {}
    assert "a_seg.nii.gz  skipped: it is there already" in capsys.readouterr().out
    assert old.read_bytes() == b"old"
    assert new.exists()
    assert model([tmp_path / "in"], tmp_path / "out", "m", existing="replace") == {}
    assert capsys.readouterr().out.count("will be replaced") == 2
    assert nib.load(old).shape == (9, 9, 9)


@pytest.mark.parametrize(("threads", "done"), [(1, 1), (2, 2)])
def test_an_interrupt_ends_it_and_what_is_whole_stays(
    threads: int,
    done: int,
    model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """A real signal, in the middle of the second mask; a thread that writes it beside ends that first."""
    for name in ("a.nii", "b.nii", "c.nii", "d.nii"):
        write_volume(tmp_path / "in" / name, noise(9, 9, 9))
    save, compute = nib.save, module._sliding_window
    interrupted = threading.Event()

    def interrupted_at_b(image: Any, file: Path) -> None:
        save(image, file)
        if file.name.endswith("b_seg.nii.gz"):
            interrupted.set()
            os.kill(os.getpid(), signal.SIGINT)

    def slow(*given: Any, **options: Any) -> Any:
        if (tmp_path / "out" / "a_seg.nii.gz").exists() and threads > 1:
            interrupted.wait(10)
            time.sleep(0.2)  # the signal comes here
        return compute(*given, **options)

    monkeypatch.setattr(module.nibabel, "save", interrupted_at_b)
    monkeypatch.setattr(module, "_sliding_window", slow)
    command = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--model", "m"]
    assert module.main([*command, "--threads", str(threads)]) == 130
    assert capsys.readouterr().err == f"predict: interrupted: {done} of 4 cases are done\n"
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["a_seg.nii.gz", "b_seg.nii.gz"][:done]


def test_a_folder_that_cannot_be_written_to_is_found_before_the_first_volume(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_volume(tmp_path / "in" / "a.nii", noise(9, 9, 9))
    monkeypatch.setattr(module, "segment", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to the folder .*/file: File exists"):
        model([tmp_path / "in"], tmp_path / "file", "m")


def test_the_shipped_file_keeps_out_of_a_folder_that_another_run_has(tmp_path: Path):
    """Be it one of the package, and in the other direction too."""
    (tmp_path / "models").mkdir()
    write_network(tmp_path / "models" / "model.onnx", {**WHOLE, "classes": ["background"]})
    (tmp_path / "predict.py").write_text(predict_source())
    write_volume(tmp_path / "in" / "a.nii", noise(9, 9, 9))
    command = [sys.executable, "predict.py", "in", "--out", "out"]
    with holder(tmp_path / "out") as process:
        refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"predict: {tmp_path}/out is in use by process {process.pid} ")
    script = (
        "import predict, sys; predict.claim_folder('out'); print('claimed', flush=True); sys.stdin.read()"
    )
    with (
        holder(tmp_path / "out", script, cwd=tmp_path),
        pytest.raises(FolderInUseError, match="is in use by process"),
        claimed(tmp_path / "out"),
    ):
        pass
    subprocess.run(command, cwd=tmp_path, check=True)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a_seg.nii.gz"]


@pytest.mark.parametrize("overlap", [-0.1, 1.0, float("nan")])
def test_overlap(overlap: float, model: Any, tmp_path: Path):
    path = write_volume(tmp_path / "in" / "a.nii", noise(9, 9, 9))
    with pytest.raises(ValueError, match="overlap: expected a number from 0 to below 1"):
        model([path], tmp_path / "out", "m", overlap=overlap)


def test_the_bound_of_resampling(model: Any, tmp_path: Path):
    path = write_volume(tmp_path / "in" / "a.nii", noise(9, 9, 9), np.diag([2.0, 2, 2, 1]))
    (text,) = model([path], tmp_path / "out", "m", max_voxels=4912).values()
    assert "9 x 9 x 9 voxels of 2 x 2 x 2 mm would become 17 x 17 x 17 of 1 x 1 x 1 mm, 4913 in all" in text
    assert text.endswith("choose another spacing or max_voxels")
    assert model([path], tmp_path / "out", "m", max_voxels=4913) == {}
    with pytest.raises(ValueError, match="max_voxels: expected 1 or more, found 0"):
        model([path], tmp_path / "out", "m", max_voxels=0)


# Networks


def write_network(file: Path, settings: dict[str, Any] | None) -> Path:
    import json

    import onnx

    value = onnx.helper.make_tensor_value_info
    shape = ["b", 1, "x", "y", "z"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["image"], ["pred"])],
        "identity",
        [value("image", onnx.TensorProto.FLOAT, shape)],
        [value("pred", onnx.TensorProto.FLOAT, shape)],
    )
    network = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    if settings is not None:
        entry = network.metadata_props.add()
        entry.key, entry.value = module.KEY, json.dumps(settings)
    onnx.save(network, str(file))
    return file


WHOLE = {**CONFIG, "format": module.FORMAT, "weights_sha256": "0" * 64}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, r"has no settings, its metadata has the keys \[\], expected 'dckd'"),
        ({**WHOLE, "format": 3}, "settings of format 3, expected 1"),
        ({**WHOLE, "steps": [{"step": "denoise"}]}, r"settings of format 1\['denoise'\], expected 1"),
    ],
)
def test_unfit_networks(settings: Any, expected: str, tmp_path: Path):
    with pytest.raises(ValueError, match=expected):
        module.load_model(write_network(tmp_path / "model.onnx", settings))


def test_networks_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"there is no network at .*dckd export BUNDLE"):
        module.load_model(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"model\.onnx: cannot be read as an ONNX network"):
        module.load_model(tmp_path / "model.onnx")


def test_other_weights_beside_it(tmp_path: Path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    file = write_network(tmp_path / "model.onnx", WHOLE)
    with pytest.raises(
        ValueError, match=r"was exported from other weights than .*model\.pt: run `dckd export"
    ):
        module.load_model(file)
    write_network(file, {**WHOLE, "weights_sha256": module.weights_hash(tmp_path / "model.pt")})
    network, found = module.load_model(file, threads=1)
    window = noise(1, 1, 3, 4, 5)
    np.testing.assert_array_equal(network(window), window)
    assert found["classes"] == ["background", "bright"]
    with pytest.raises(ValueError, match="threads: expected 0"):
        module.load_model(file, threads=-1)


WHOLE_ABUS = """
import resource, sys
from pathlib import Path
import numpy as np
from dckd_ext.export import predict
percentiles = {"step": "percentiles", "lower": 0.5, "upper": 99.5, "b_min": 0.0, "b_max": 1.0, "clip": True}
settings = {
    "channels": 1,
    "read": {"dtype": None, "nrrd_spacing": [0.2, 0.073, 0.475674], "max_extent": [200.0, 60.0, 250.0]},
    "steps": [{"step": "resample", "spacing": [0.4] * 3}, percentiles, {"step": "normalize"}],
    "window": {"roi_size": [96, 128, 96], "overlap": 0.25},
}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mask, image = predict.segment(Path(sys.argv[1]), lambda x: np.concatenate([0 * x, x], axis=1), settings)
predict.nibabel.save(predict.mask_image(mask, image.grid), Path(sys.argv[1]).with_name("mask.nii.gz"))
print(mask.size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
def test_memory_of_a_whole_abus_volume(tmp_path: Path):
    """At most 1 GB and 4 bytes a voxel above the imports, the network's own memory left out."""
    volume = np.random.default_rng(0).integers(0, 255, (865, 682, 354), np.uint8)
    nrrd.write(str(tmp_path / "a.nrrd"), volume, compression_level=1)
    del volume
    command = [sys.executable, "-c", WHOLE_ABUS, str(tmp_path / "a.nrrd")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    voxels, peak = map(int, done.stdout.split())
    assert voxels == 865 * 682 * 354
    assert peak < 1e9 + 4 * voxels
