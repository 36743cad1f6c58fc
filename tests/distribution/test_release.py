"""What a release holds, and that the same bundle gives the same bytes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from dckd_ext.distribution import contents, pack_bundles, violations
from dckd_ext.utils import FolderInUseError
from dckd_ext.utils.folders import STAGE
from tests.distribution.examples import (
    NAME,
    README,
    TITLE,
    change_metadata,
    make_bundle,
    weights,
    write_json,
)
from tests.utils.test_folders import holder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundles")


def hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_files_of_a_release(root: Path, tmp_path: Path):
    (packed,) = pack_bundles([root], tmp_path / "out", "https://host/releases/")
    file = tmp_path / "out" / f"{TITLE}.zip"
    assert (packed.title, packed.sha256, packed.size) == (TITLE, hash_of(file), file.stat().st_size)
    assert json.loads((tmp_path / "out/model_info.json").read_text()) == {
        TITLE: {
            "version": "0.1.0",
            "sha256": hash_of(file),
            "size": file.stat().st_size,
            "source": f"https://host/releases/{TITLE}.zip",
        }
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [f"{TITLE}.zip", "model_info.json", "SHA256SUMS", "hub"]
    )
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == sorted(
            f"{NAME}/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file()
        )


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_checksums_are_those_of_sha256sum(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "dckd_ext.distribution.release.LARGE", (root / "models/model.pt").stat().st_size - 1
    )  # model.pt is on its own as well
    pack_bundles([root], tmp_path / "out")
    for folder, count in ((tmp_path / "out", 3), (tmp_path / "out/hub" / TITLE, 9)):
        check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
        done = subprocess.run(check, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == count


@pytest.mark.slow
def test_equal_bundles_give_equal_bytes(root: Path, tmp_path: Path):
    pack_bundles([root], tmp_path / "one")
    other = shutil.copytree(root, tmp_path / "copy" / NAME)
    for number, path in enumerate(sorted(other.rglob("*"), reverse=True)):
        os.utime(path, (10**9 + number, 10**9 + number))
        if path.is_file():
            path.chmod(0o755)
    code = (
        "import sys; from dckd_ext.distribution import pack_bundles; pack_bundles([sys.argv[1]], sys.argv[2])"
    )
    environment = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", code, other, tmp_path / "two"], env=environment, check=True)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_left_out(root: Path, tmp_path: Path):
    pack_bundles([root], tmp_path / "one")
    for path in (
        *("output/a.csv", "eval/a_seg.nii.gz", "data/images/patient.nii.gz", "logs/x", "mlruns/0/meta.yaml"),
        *(
            "models/previous/model.pt",
            "web/network/model.onnx",
            "scripts/__pycache__/a.pyc",
            "__pycache__/b.pyc",
            ".git/config",
            ".hidden",
        ),
        *("configs/.train.json.swp", "run.log", "events.out.tfevents.1.vm", "docs/.DS_Store"),
        *("README.md", "SHA256SUMS", "large_files.yml"),  # a bundle that came from a hub
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    pack_bundles([root], tmp_path / "two")
    assert hash_of(tmp_path / "one" / f"{TITLE}.zip") == hash_of(tmp_path / "two" / f"{TITLE}.zip")
    assert "scripts" not in {path.name for path in (tmp_path / "two/hub" / TITLE).iterdir()}


def test_one_violation_and_nothing_is_packed(root: Path, tmp_path: Path):
    other = make_bundle(tmp_path, "other_segmentation")
    (other / "LICENSE").unlink()
    with pytest.raises(ValueError, match=r"1 problem\(s\):\n  other_segmentation: LICENSE: is missing"):
        pack_bundles([root, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_version_is_packed_once(root: Path, tmp_path: Path):
    out = tmp_path / "out"
    pack_bundles([root], out)
    pack_bundles([root], out, "https://host/x")  # the same again
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    torch.save(weights(1), root / "models/model.pt")
    with pytest.raises(ValueError, match=f"{TITLE} was packed before with other contents .* Raise 'version'"):
        pack_bundles([root], out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    change_metadata(root, version="0.2.0", changelog={"0.1.0": "first", "0.2.0": "fine-tuned"})
    pack_bundles([root], out)
    assert [*json.loads((out / "model_info.json").read_text())] == [TITLE, f"{NAME}_v0.2.0"]
    assert f"{TITLE}.zip" in (out / "SHA256SUMS").read_text()


def test_large_weights(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert contents.LARGE == 25 * 1024 * 1024
    monkeypatch.setattr("dckd_ext.distribution.release.LARGE", (root / "models/model.pt").stat().st_size - 1)
    pack_bundles([root], tmp_path / "out", "https://host/x")
    name = f"{TITLE}_models_model.pt"
    assert (tmp_path / "out" / name).read_bytes() == (root / "models/model.pt").read_bytes()
    assert yaml.safe_load((tmp_path / "out/hub" / TITLE / "large_files.yml").read_text()) == {
        "large_files": [
            {
                "path": "models/model.pt",
                "url": f"https://host/x/{name}",
                "hash_val": hash_of(root / "models/model.pt"),
                "hash_type": "sha256",
            }
        ]
    }


def test_model_card(root: Path, tmp_path: Path):
    pack_bundles([root], tmp_path / "out")
    card = (tmp_path / "out/hub" / TITLE / "README.md").read_text()
    _, head, text = card.split("---\n", 2)
    assert text == f"\n{README}"
    found = yaml.safe_load(head)
    assert (found["license"], found["library_name"]) == ("apache-2.0", "monai")
    assert {"monai", "medical"} <= set(found["tags"])


def test_bad_arguments(root: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="one or more bundles of different names"):
        pack_bundles([], tmp_path)
    with pytest.raises(ValueError, match="of different names"):
        pack_bundles([root, make_bundle(tmp_path / "b")], tmp_path)
    with pytest.raises(ValueError, match="Expected an address"):
        pack_bundles([root], tmp_path, "host/folder")
    (tmp_path / "model_info.json").write_text("{")
    with pytest.raises(ValueError, match=r"model_info\.json: expected JSON, found"):
        pack_bundles([root], tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_names_are_checked_before_any_bundle_is_run(root: Path, tmp_path: Path):
    """The config of each would leave a file behind."""
    other = make_bundle(tmp_path / "b", "Wrong_segmentation")
    ran = tmp_path / "ran"
    for folder in (root, other):
        config = {"bundle_root": ".", "network_def": f"$open({str(ran)!r}, 'w')"}
        write_json(folder / "configs" / "inference.json", config)
    with pytest.raises(ValueError, match=r"1 problem\(s\):\n  Wrong_segmentation: name 'Wrong_segmentation'"):
        pack_bundles([root, other], tmp_path / "out")
    assert len(violations(other)) == 1
    assert not ran.exists()
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="does not work with 'network_def'"):
        pack_bundles([root], tmp_path / "out")
    assert ran.exists()


def test_a_killed_call_leaves_nothing_to_the_next(root: Path, tmp_path: Path):
    (tmp_path / "out" / STAGE / "hub").mkdir(parents=True)
    with holder(tmp_path / "out"), pytest.raises(FolderInUseError):
        pack_bundles([root], tmp_path / "out")
    pack_bundles([root], tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))
