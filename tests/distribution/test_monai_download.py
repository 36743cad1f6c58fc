"""MONAI's own download takes our releases as they are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from monai.bundle import download_large_files
from monai.bundle.scripts import _download_from_github, get_bundle_versions

from dckd_ext.distribution import fetch_bundle, pack_bundles
from dckd_ext.distribution.sources import find
from tests.distribution.examples import NAME, TITLE, change_metadata, make_bundle, serving
from tests.distribution.test_fetch import contents

TAG = "https://github.com/ann/bundles/releases/download/v1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundles")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_download_by_url(root: Path, tmp_path: Path, scheme: str):
    pack_bundles([root], tmp_path / "release")
    with serving(tmp_path / "release") as server:
        base = server.url if scheme == "http" else (tmp_path / "release").as_uri()
        command = [sys.executable, "-m", "monai.bundle", "download", "--name", NAME]
        command += ["--url", f"{base}/{TITLE}.zip", "--bundle_dir", str(tmp_path / "got")]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "got" / NAME) == contents(root)


def test_github_names(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """MONAI has github.com built in: what it would ask for is what the release holds."""
    pack_bundles([root], tmp_path, TAG)
    index = json.loads((tmp_path / "model_info.json").read_text())
    asked: list[str] = []
    monkeypatch.setattr("monai.bundle.scripts.download_url", lambda url, **_: asked.append(url))
    monkeypatch.setattr("monai.bundle.scripts.extractall", lambda **_: None)
    _download_from_github("ann/bundles/v1", tmp_path, f"{NAME}_v0.1.0")
    assert asked == [index[TITLE]["source"]]
    assert (tmp_path / asked[0].rsplit("/", 1)[1]).is_file()

    read: list[str] = []
    monkeypatch.setattr(
        "dckd_ext.distribution.sources._read", lambda url: read.append(url) or json.dumps(index)
    )
    assert [remote.url for remote in find(NAME, "github:ann/bundles@v1").files] == asked
    assert read == [f"{TAG}/model_info.json"]


def test_monai_finds_the_newest_version_in_our_index(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pack_bundles([root], tmp_path, TAG)
    change_metadata(root, version="0.2.0", changelog={"0.2.0": "x"})
    pack_bundles([root], tmp_path, TAG)

    class Answer:
        text = (tmp_path / "model_info.json").read_text()

        def raise_for_status(self) -> None:
            pass

    class Requests:
        @staticmethod
        def get(url: str) -> Answer:
            assert url == "https://raw.githubusercontent.com/ann/bundles/v1/models/model_info.json"
            return Answer()

    monkeypatch.setattr("monai.bundle.scripts.has_requests", True)
    monkeypatch.setattr("monai.bundle.scripts.requests", Requests)
    found = get_bundle_versions(NAME, "ann/bundles", "v1")
    assert found == {"latest_version": "0.2.0", "all_versions": ["0.1.0", "0.2.0"]}


def test_large_files(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weights = (root / "models/model.pt").read_bytes()
    monkeypatch.setattr("dckd_ext.distribution.release.LARGE", len(weights) - 1)
    pack_bundles([root], tmp_path / "release", (tmp_path / "release").as_uri())
    tree = tmp_path / "release/hub" / TITLE
    (tree / "models/model.pt").unlink()  # as in a tree for the model zoo
    download_large_files(str(tree))
    assert (tree / "models/model.pt").read_bytes() == weights


def test_a_fetched_bundle_packs_to_the_same_zip(root: Path, tmp_path: Path):
    (first,) = pack_bundles([root], tmp_path / "release")
    fetched = fetch_bundle(NAME, str(tmp_path / "release"), bundle_dir=tmp_path / "got")
    (second,) = pack_bundles([fetched.folder], tmp_path / "again")
    assert first.sha256 == second.sha256
