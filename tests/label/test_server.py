"""The students in a real MONAI Label server: inference, errors, labels, fine-tuning and a new version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import torch

from dckd_ext.bundle import student_network
from dckd_ext.networks import load_weights
from tests.conftest import write_volume
from tests.label.conftest import ABUS, PYTHON, STUDENTS, Server, dckd, own_masks, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="MONAI Label has its own environment: make test-label"),
]
UNET, HRNET = STUDENTS


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.nifti1.load(path).dataobj)


def assert_same_masks(served: dict[str, Path], own: Path, volumes: Path, classes: int) -> None:
    """The geometry is the volume's, and Dice against the bundle's own run is 1.000 for every class."""
    found = np.zeros(classes, int)
    for volume in sorted(volumes.iterdir()):
        name = volume.name.removesuffix(".gz").removesuffix(".nii")
        mask, expected = served[name], own / f"{name}_seg.nii.gz"
        given = nib.nifti1.load(volume)
        np.testing.assert_allclose(nib.nifti1.load(mask).affine, given.affine, atol=1e-5)
        assert voxels(mask).shape == given.shape
        assert set(np.unique(voxels(mask))) <= set(range(classes))
        for number in range(1, classes):
            one, other = voxels(mask) == number, voxels(expected) == number
            dice = 2 * (one & other).sum() / max(one.sum() + other.sum(), 1)
            assert dice >= 0.9995 or not (one.any() or other.any()), (name, number, dice)
            found[number] += one.sum()
    assert (found[1:] > 100).all(), "a comparison of empty masks says nothing"


def served_masks(server: Server, model: str, out: Path) -> dict[str, Path]:
    out.mkdir(exist_ok=True)
    endings = {".nii": ".nii", ".gz": ".nii.gz"}
    files = {volume.name.split(".")[0]: endings[volume.suffix] for volume in server.volumes.iterdir()}
    return {name: server.client.infer(model, name, out / f"{name}{ending}") for name, ending in files.items()}


def test_info(server: Server):
    info = server.client.ask("GET", "/info/")
    assert set(info["models"]) == set(info["trainers"]) == {*STUDENTS, ABUS}
    for name in STUDENTS:
        assert info["models"][name]["labels"] == {"anterior": 1, "posterior": 2}
        assert info["models"][name]["dimension"] == 3
        metadata = json.loads((server.models / name / "configs" / "metadata.json").read_text())
        assert info["models"][name]["version"] == metadata["version"]
    assert info["models"][ABUS]["labels"] == {"lesion": 1}
    assert info["datastore"]["total"] == len(list(server.volumes.iterdir()))


@pytest.mark.parametrize("model", [*STUDENTS, ABUS])
def test_inference_is_the_bundles_own(server: Server, tmp_path: Path, model: str):
    served = served_masks(server, model, tmp_path / "served")
    own = own_masks(server.models / model, server.volumes, tmp_path / "own")
    assert_same_masks(served, own, server.volumes, classes=2 if model == ABUS else 3)


def test_both_at_once(server: Server, tmp_path: Path):
    alone = {
        name: voxels(server.client.infer(name, "straight", tmp_path / f"{name}.nii.gz")) for name in STUDENTS
    }
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            (name, pool.submit(server.client.infer, name, "straight", tmp_path / f"{name}_{turn}.nii.gz"))
            for turn in range(3)
            for name in STUDENTS
        ]
        for name, job in jobs:
            np.testing.assert_array_equal(voxels(job.result()), alone[name])
    assert not np.array_equal(alone[UNET], alone[HRNET])


def test_an_upload(server: Server, tmp_path: Path):
    """A volume that is not among the studies, as from a viewer."""
    volume = server.volumes / "oblique.nii.gz"
    status, content = server.client.send("POST", f"/infer/{UNET}", upload=("file", volume), output="image")
    assert status == 200
    (tmp_path / "mask.nii.gz").write_bytes(content)
    by_name = server.client.infer(UNET, "oblique", tmp_path / "by_name.nii.gz")
    np.testing.assert_array_equal(voxels(tmp_path / "mask.nii.gz"), voxels(by_name))


def test_with_the_client_of_3d_slicer(server: Server, tmp_path: Path):
    """MONAI Label's own client, with the options of its extension for 3D Slicer: the answer is NRRD."""
    script = (
        "import json, sys; from monailabel.client import MONAILabelClient\n"
        "url, folder, model, volume = sys.argv[1:]\n"
        "client = MONAILabelClient(url, folder)\n"
        "options = client.info()['models'][model]['config']\n"
        "options = {key: value[0] if isinstance(value, list) else value for key, value in options.items()}\n"
        "options |= {'result_extension': '.nrrd', 'result_dtype': 'uint8'}\n"
        "session = client.create_session(volume)['session_id']\n"
        "file, params = client.infer(model, '', options, session_id=session)\n"
        "print(json.dumps([file, params['label_names']]))"
    )
    volume = server.volumes / "oblique.nii.gz"
    printed = run(PYTHON, "-c", script, server.client.url, tmp_path, UNET, volume)
    file, labels = json.loads(printed.splitlines()[-1])
    assert labels == {"anterior": 1, "posterior": 2}
    mask, header = nrrd.read(file)
    expected = server.client.infer(UNET, "oblique", tmp_path / "expected.nii.gz")
    np.testing.assert_array_equal(mask, voxels(expected))
    assert mask.dtype == np.uint8
    affine = nib.nifti1.load(volume).affine
    to_ras = np.diag([-1, -1, 1])
    assert header["space"] == "left-posterior-superior"
    np.testing.assert_allclose(to_ras @ header["space directions"].T, affine[:3, :3], atol=1e-5)
    np.testing.assert_allclose(to_ras @ header["space origin"], affine[:3, 3], atol=1e-5)


def test_batch_inference(server: Server, tmp_path: Path):
    body = {"device": "cpu", "multi_gpu": False, "label_tag": "batch"}
    server.client.ask("POST", f"/batch/infer/{HRNET}", body=body, images="all")
    assert server.client.wait("/batch/infer")["status"] == "DONE"
    labels = server.studies / "labels" / "batch"
    for name, mask in served_masks(server, HRNET, tmp_path / "served").items():
        saved = next(labels.glob(f"{name}.nii*"))
        np.testing.assert_array_equal(voxels(saved), voxels(mask))


def test_wrong_names(server: Server):
    status, reason = server.client.refusal("POST", f"/infer/{UNET}", image="nobody", output="image")
    assert (status, "'nobody'" in reason, str(server.studies) in reason) == (404, True, True)
    for path in ("/infer/other", "/batch/infer/other", "/train/other"):
        status, reason = server.client.refusal("POST", path, image="straight", body={"device": "cpu"})
        assert (status, "'other'" in reason, UNET in reason) == (404, True, True), path
    label = next(server.labels.iterdir())
    status, reason = server.client.refusal("PUT", "/datastore/label", upload=("label", label), image="nobody")
    assert (status, "'nobody'" in reason) == (404, True)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("flat", "expected a 3D volume, found the shape (30, 30)"),
        ("channels", "expected a 3D volume with 1 channel(s), found the shape (30, 30, 20, 4)"),
        ("text", "cannot be read"),
        ("empty", "the file is empty"),
        ("nan", "1 voxels are NaN or infinite"),
    ],
)
def test_volumes_of_another_kind(server: Server, tmp_path: Path, kind: str, says: str):
    random = np.random.default_rng(0)
    file = tmp_path / f"{kind}.nii.gz"
    if kind in ("text", "empty"):
        file.write_text("this is no volume" if kind == "text" else "")
    else:
        array = random.normal(size={"flat": (30, 30), "channels": (30, 30, 20, 4)}.get(kind, (30, 30, 20)))
        array[(0,) * array.ndim] = np.nan if kind == "nan" else 0
        write_volume(file, array.astype(np.float32))
    server.client.ask("PUT", "/datastore/image", upload=("file", file), image=kind)
    try:
        status, reason = server.client.refusal("POST", f"/infer/{UNET}", image=kind, output="image")
        assert (status, says in reason, f"{kind}.nii.gz" in reason) == (422, True, True), reason
    finally:
        server.client.ask("DELETE", "/datastore/image", id=kind)


def test_pages_and_hosts_from_elsewhere(server: Server):
    own = server.client.url
    for headers, status in (
        ({"Origin": "http://example.org"}, 403),
        ({"Host": "evil.example"}, 400),
        ({"Origin": own}, 200),
        ({"Host": own.replace("http://127.0.0.1", "localhost")}, 200),
    ):
        for method, path in (("GET", "/info/"), ("POST", "/activelearning/first")):
            assert server.client.send(method, path, headers=headers)[0] == status, (headers, path)


def test_texts_that_a_config_would_evaluate(server: Server):
    for body in ({"max_epochs": "$1+1"}, {"run_id": "@run"}, {"val_split": {"_target_": "math.sqrt"}}):
        status, reason = server.client.refusal("POST", f"/train/{UNET}", body=body)
        assert (status, next(iter(body)) in reason) == (422, True)
    assert server.client.send("GET", "/train/")[0] == 404, "no training was started"
    params = {"image": "straight", "output": "image"}
    for bad in ({"image": "../straight"}, {"image": "/etc/hostname"}):
        status, reason = server.client.refusal("POST", f"/infer/{UNET}", **{**params, **bad})
        assert (status, bad["image"] in reason) == (422, True)
    label = next(server.labels.iterdir())
    before = sorted(server.studies.rglob("*"))
    refused = {"image": "straight", "tag": "../../x"}
    assert server.client.refusal("PUT", "/datastore/label", upload=("label", label), **refused)[0] == 422
    assert sorted(server.studies.rglob("*")) == before


def test_requests_that_are_switched_off(server: Server):
    for method, path in (
        *(("GET", f"/model/{UNET}"), ("PUT", f"/model/{UNET}"), ("DELETE", f"/model/{UNET}")),
        *(("GET", "/logs/"), ("GET", "/ohif/"), ("GET", "/proxy/dicom/studies"), ("POST", "/reload")),
        *(("POST", "/scoring/"), ("POST", f"/infer/wsi/{UNET}"), ("GET", "/datastore/dataset")),
    ):
        assert server.client.send(method, path)[0] == 404, (method, path)


def test_a_volume_called_like_something_else(server: Server, tmp_path: Path):
    """MONAI Label takes a file or folder of this name, where it runs, for the volume."""
    volume = server.volumes / "small.nii.gz"
    server.client.ask("PUT", "/datastore/image", upload=("file", volume), image="app")
    try:
        mask = server.client.infer(UNET, "app", tmp_path / "app.nii.gz")
        expected = server.client.infer(UNET, "small", tmp_path / "small.nii.gz")
        np.testing.assert_array_equal(voxels(mask), voxels(expected))
    finally:
        server.client.ask("DELETE", "/datastore/image", id="app")


def settled(look: Callable[[], set[str]], expected: set[str], seconds: float = 20.0) -> set[str]:
    """Look until it is as expected, or the time is over: a request's files are removed after its answer."""
    end = time.monotonic() + seconds
    while (seen := look()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    return seen


def test_uploads_are_removed(server: Server, tmp_path: Path):
    """Those of failures too, and those of a session with it."""

    def kept() -> set[str]:
        # by os.walk, to which what goes meanwhile is no error
        found = (Path(folder) / name for folder, _, names in os.walk(server.uploads) for name in names)
        return {str(file.relative_to(server.uploads)) for file in found}

    before = kept()
    bad = tmp_path / "bad.nii.gz"
    bad.write_text("this is no volume")
    volume = server.volumes / "small.nii.gz"
    client = server.client
    assert client.refusal("POST", f"/infer/{UNET}", upload=("file", bad), output="image")[0] == 422
    assert client.refusal("POST", "/infer/other", upload=("file", volume), output="image")[0] == 404
    assert client.refusal("PUT", "/datastore/label", upload=("label", volume), image="nobody")[0] == 404
    assert client.send("POST", f"/infer/{UNET}", upload=("file", volume), output="image")[0] == 200
    assert client.send("POST", f"/infer/{UNET}", upload=("file", volume), output="json")[0] == 200
    session = client.ask("PUT", "/session/", upload=("files", volume))["session_id"]
    of_session = {f"sessions/{session}/small.nii.gz", f"sessions/{session}/meta.info"}
    assert settled(lambda: kept() - before, of_session) == of_session
    client.ask("DELETE", f"/session/{session}")
    assert settled(kept, before) == before


def test_nothing_to_train_on(server: Server):
    assert server.client.ask("GET", "/datastore/", output="train") == []
    status, reason = server.client.refusal("POST", f"/train/{UNET}", body={"max_epochs": 1})
    assert (status, "save labels" in reason) == (409, True)
    assert server.client.send("GET", "/train/")[0] == 404, "no training was started"


def test_tasks_that_would_hold_the_server(server: Server):
    body = {"device": "cpu", "multi_gpu": False}
    status, reason = server.client.refusal("POST", f"/batch/infer/{UNET}", body=body, run_sync=True)
    assert (status, "run_sync" in reason) == (422, True)


def test_labels_then_training_then_a_new_version(server: Server, tmp_path: Path):
    """One story, since each part needs the one before."""
    client, model = server.client, server.models / UNET
    weights = model / "models" / "model.pt"
    before, other = weights.read_bytes(), (server.models / HRNET / "models" / "model.pt").read_bytes()

    names = ["straight", "flipped", "oblique"]
    for name in names:
        label = next(server.labels.glob(f"{name}.nii*"))
        client.ask("PUT", "/datastore/label", upload=("label", label), image=name, tag="final")
        assert client.send("GET", "/datastore/label", label=name, tag="final") == (200, label.read_bytes())
    assert {
        Path(case["image"]).name.split(".")[0] for case in client.ask("GET", "/datastore/", output="train")
    } == {*names}
    # MONAI Label drops a removed volume once its watcher hears of it: those of other tests may be listed
    assert client.ask("POST", "/activelearning/random", body={})["id"] not in names, "one without a label"

    # what 3D Slicer sends: all options as /info/ gives them, an empty run_id among them
    options = client.ask("GET", "/info/")["trainers"][UNET]["config"]
    options = {key: value[0] if isinstance(value, list) else value for key, value in options.items()}
    client.ask("POST", f"/train/{UNET}", body={**options, "device": "cpu", "max_epochs": 2})
    task = client.wait("/train/")
    assert task["status"] == "DONE", task["details"]
    assert sum("epoch 1 of 2: loss" in line for line in task["details"]) == 1, task["details"]

    assert weights.read_bytes() != before
    load_weights(student_network(str(model)), weights)
    state, old = (
        torch.load(file, weights_only=True) for file in (weights, _only(model / "models" / "previous"))
    )
    assert all(isinstance(tensor, torch.Tensor) and torch.isfinite(tensor).all() for tensor in state.values())
    assert _only(model / "models" / "previous").read_bytes() == before
    # it began with the served weights, not with random ones: after two steps these are still like them
    for key, tensor in old.items():
        if tensor.ndim > 1:
            similar = torch.nn.functional.cosine_similarity(state[key].flatten(), tensor.flatten(), dim=0)
            assert similar > 0.95, key
    assert (server.models / HRNET / "models" / "model.pt").read_bytes() == other

    # the same server infers with the new weights
    served = served_masks(server, UNET, tmp_path / "served")
    assert_same_masks(served, own_masks(model, server.volumes, tmp_path / "own"), server.volumes, classes=3)

    metadata_file = model / "configs" / "metadata.json"
    metadata = json.loads(metadata_file.read_text())
    metadata["version"] = "0.9.1"
    metadata["changelog"] = {"0.9.1": "fine-tuned in MONAI Label", **metadata["changelog"]}
    metadata_file.write_text(json.dumps(metadata, indent=4))
    dckd("pack", model, "--out", tmp_path / "release")
    dckd("fetch", UNET, "--source", tmp_path / "release", "--bundle_dir", tmp_path / "new")
    assert (tmp_path / "new" / UNET / "models" / "model.pt").read_bytes() == weights.read_bytes()
    assert not (tmp_path / "new" / UNET / "models" / "previous").exists()
    found = own_masks(tmp_path / "new" / UNET, server.volumes, tmp_path / "again")
    assert_same_masks(served, found, server.volumes, classes=3)


def test_the_bundles_given_are_untouched(server: Server, fetched: Path):
    """Fine-tuning changes the copies under the app; no file of what was fetched is newer than the server."""
    started = (server.models.parent / "main.py").stat().st_ctime
    assert all(file.stat().st_mtime <= started for file in fetched.rglob("*") if file.is_file())


def test_what_serve_refuses(fetched: Path, tmp_path: Path):
    def refusal(*arguments: str | Path) -> str:
        serve = Path(__file__).parent.parent.parent / "label" / "serve.py"
        command = [PYTHON, str(serve), *map(str, arguments), "--app", str(tmp_path / "app")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert not (tmp_path / "app").exists()
        return done.stderr

    assert "http://HOST" in refusal(fetched / UNET, "--studies", tmp_path, "--allow_origin", "*")
    assert "there is no folder" in refusal(fetched / UNET, "--studies", tmp_path / "none")
    shutil.copytree(fetched / UNET, tmp_path / UNET, ignore=shutil.ignore_patterns("models"))
    assert "no models/model.pt" in refusal(tmp_path / UNET, "--studies", tmp_path)


def _only(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file
