"""A bundle arrives whole and verified, or not at all."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dckd_ext.distribution import fetch_bundle, pack_bundles
from tests.distribution.examples import NAME, TITLE, Server, change_metadata, make_bundle, serving, weights
from tests.distribution.test_rules import Payload

ZIP = f"{TITLE}.zip"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundles")


@pytest.fixture
def release(root: Path, tmp_path: Path) -> Path:
    pack_bundles([root], tmp_path / "release")
    return tmp_path / "release"


@pytest.fixture
def server(release: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("dckd_ext.distribution.download._WAIT", 0.0)
    with serving(release) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "fetched"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def ranges(server: Server) -> list[str | None]:
    return [asked for path, asked in server.asked if path.endswith(".zip")]


def rewrite(release: Path, *entries: tuple[str, bytes]) -> None:
    """Put another zip into a release, with a hash and a size that are right."""
    with zipfile.ZipFile(release / ZIP, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    index = json.loads((release / "model_info.json").read_text())
    content = (release / ZIP).read_bytes()
    index[TITLE] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (release / "model_info.json").write_text(json.dumps(index))


def refused(
    target: Path, source: str | None, message: str, error: type[Exception] = ValueError, name: str = NAME
) -> None:
    before = contents(target.parent)
    with pytest.raises(error, match=message):
        fetch_bundle(name, source, bundle_dir=target)
    assert contents(target.parent) == before


@pytest.mark.parametrize("form", ["folder", "zip", "file", "file zip", "http", "http/", "http zip"])
def test_forms_of_a_source(release: Path, root: Path, server: Server, target: Path, form: str):
    source = {
        "folder": str(release),
        "zip": str(release / ZIP),
        "file": release.as_uri(),
        "file zip": (release / ZIP).as_uri(),
        "http": server.url,
        "http/": f"{server.url}/",
        "http zip": f"{server.url}/{ZIP}",
    }[form]
    fetched = fetch_bundle(NAME, source, bundle_dir=target)
    assert contents(target / NAME) == contents(root)
    assert list(target.iterdir()) == [target / NAME]
    assert (fetched.folder, fetched.version, fetched.kept) == (target / NAME, "0.1.0", None)
    assert fetched.size == sum(map(len, contents(root).values()))
    assert fetched.url.endswith(ZIP)


def test_a_copy_of_a_release_serves_itself(release: Path, root: Path, target: Path, tmp_path: Path):
    pack_bundles([root], release, "https://example.invalid/elsewhere")
    moved = shutil.move(release, tmp_path / "moved")
    assert fetch_bundle(NAME, str(moved), bundle_dir=target).folder.is_dir()


def test_versions(release: Path, root: Path, target: Path):
    change_metadata(root, version="0.2.0", changelog={"0.2.0": "x"})
    pack_bundles([root], release)
    assert fetch_bundle(NAME, str(release), bundle_dir=target).version == "0.2.0"
    assert fetch_bundle(NAME, str(release), "0.1.0", target, force=True).version == "0.1.0"
    with pytest.raises(
        ValueError, match=r"has no version 0\.3\.0 of toy_segmentation, only \['0\.1\.0', '0\.2\.0'"
    ):
        fetch_bundle(NAME, str(release), "0.3.0", target, force=True)
    index = json.loads((release / "model_info.json").read_text())
    shutil.copy(release / f"{NAME}_v0.2.0.zip", release / f"{NAME}_v0.10.0.zip")
    index[f"{NAME}_v0.10.0"] = index[f"{NAME}_v0.2.0"]
    (release / "model_info.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"should be version 0\.10\.0, its metadata says 0\.2\.0"):
        fetch_bundle(NAME, str(release), bundle_dir=target, force=True)  # numbers, not text: 0.10.0 > 0.2.0


def test_an_existing_bundle_is_kept(release: Path, target: Path):
    (target / NAME).mkdir(parents=True)
    (target / NAME / "mine.txt").write_text("weeks of work")
    refused(target, str(release), "exists. With --force", FileExistsError)
    refused(target, "nowhere", "exists. With --force", FileExistsError)  # before anything is looked for
    fetched = fetch_bundle(NAME, str(release), bundle_dir=target, force=True)
    assert fetched.kept is not None
    assert fetched.kept.name.startswith(f"{NAME}.kept-")
    assert (fetched.kept / "mine.txt").read_text() == "weeks of work"
    assert not (target / NAME / "mine.txt").exists()


def test_what_fails_leaves_an_existing_bundle(release: Path, target: Path):
    (target / NAME).mkdir(parents=True)
    (release / ZIP).write_bytes(b"other")
    with pytest.raises(ValueError, match="has 5 bytes, its index says"):
        fetch_bundle(NAME, str(release), bundle_dir=target, force=True)
    assert list(target.iterdir()) == [target / NAME]


def test_a_dropped_connection_goes_on(server: Server, root: Path, release: Path, target: Path):
    server.drop_after = [1000, 500]
    fetch_bundle(NAME, server.url, bundle_dir=target)
    assert contents(target / NAME) == contents(root)
    assert ranges(server) == [None, "bytes=1000-", "bytes=1500-"]


def test_a_dropped_connection_without_range_starts_anew(server: Server, root: Path, target: Path):
    server.drop_after, server.ranges = [1000, 500], False
    fetch_bundle(NAME, server.url, bundle_dir=target)
    assert contents(target / NAME) == contents(root)
    assert ranges(server) == [None, "bytes=1000-", "bytes=500-"]


def test_the_next_call_goes_on(server: Server, root: Path, target: Path):
    server.drop_after = [1000, 10, 10, 10]
    with pytest.raises(OSError, match=r"connection broke after 10 of \d+ bytes. The same command goes on"):
        fetch_bundle(NAME, server.url, bundle_dir=target)
    assert not (target / NAME).exists()
    server.asked.clear()
    fetch_bundle(NAME, server.url, bundle_dir=target)
    assert ranges(server) == ["bytes=1030-"]
    assert list(target.iterdir()) == [target / NAME]
    assert contents(target / NAME) == contents(root)


@pytest.mark.parametrize("left", [b"not its beginning", b"x" * 100_000])
def test_left_overs_of_another_file(server: Server, root: Path, target: Path, left: bytes):
    download = target / f".partial-{NAME}" / "download"
    download.mkdir(parents=True)
    (download / ZIP).write_bytes(left)
    fetch_bundle(NAME, server.url, bundle_dir=target)
    assert contents(target / NAME) == contents(root)
    assert ranges(server)[-1] is None


def test_downloaded_but_not_unpacked_yet(server: Server, release: Path, target: Path):
    download = target / f".partial-{NAME}" / "download"
    download.mkdir(parents=True)
    shutil.copy(release / ZIP, download)
    (target / f".partial-{NAME}" / NAME / "configs").mkdir(parents=True)  # killed while it unpacked
    (target / f".partial-{NAME}" / NAME / "configs/metadata.json").write_text("half")
    fetch_bundle(NAME, server.url, bundle_dir=target)
    assert ranges(server) == []
    assert list(target.iterdir()) == [target / NAME]


def test_wrong_hash(release: Path, target: Path, server: Server):
    damaged = bytearray((release / ZIP).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (release / ZIP).write_bytes(damaged)
    for source in (str(release), server.url, f"{server.url}/{ZIP}"):
        refused(target, source, r"has SHA-256 \w{64}, expected \w{64}: damaged, or another file")
        assert not list(target.iterdir())


def test_truncated_zip(release: Path, target: Path):
    (release / ZIP).write_bytes((release / ZIP).read_bytes()[:-500])
    refused(target, str(release), r"has \d+ bytes, its index says \d+: damaged, or another file")
    refused(target, str(release / ZIP), "has SHA-256")  # SHA256SUMS states no size
    rewrite(release, (f"{NAME}/LICENSE", b"x"))
    cut = (release / ZIP).read_bytes()[:-20]
    (release / ZIP).write_bytes(cut)
    (release / "SHA256SUMS").write_text(f"{hashlib.sha256(cut).hexdigest()}  {ZIP}\n")
    refused(target, str(release / ZIP), "is no whole zip file")
    assert not list(target.iterdir())


def test_no_hash_no_download(release: Path, target: Path, server: Server):
    index = json.loads((release / "model_info.json").read_text())
    (release / "model_info.json").write_text(json.dumps({TITLE: {**index[TITLE], "sha256": ""}}))
    refused(target, server.url, "states no SHA-256 for toy_segmentation_v0.1.0.zip")
    (release / "SHA256SUMS").unlink()
    refused(target, f"{server.url}/{ZIP}", "SHA256SUMS: HTTP Error 404")
    assert ranges(server) == []


def test_evil_zips(release: Path, root: Path, target: Path):
    inside = {f"{NAME}/{path}": content for path, content in contents(root).items()}
    rewrite(release, *inside.items(), (f"{NAME}/../../evil", b"x"))
    refused(target, str(release), "leaves its folder")
    rewrite(release, *((name.replace(NAME, "other"), content) for name, content in inside.items()))
    refused(target, str(release), r"expected toy_segmentation/ as the only top folder, found \['other'\]")
    rewrite(release, *inside.items(), (f"{NAME}/models/extra.pkl", b"\x80\x04N."))
    refused(target, str(release), r"extra\.pkl")
    assert not list(target.iterdir())
    assert not (target.parent / "evil").exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"code": Payload()}, "model.pt holds pickled objects, or is damaged: expected plain tensors"),
        ({"model": weights()}, "model.pt holds a OrderedDict at 'model'"),
        ({**weights(), "epoch": 1}, "model.pt holds a int at 'epoch'"),
    ],
)
def test_weights_that_are_not_plain_tensors(
    release: Path, root: Path, target: Path, state: object, message: str
):
    torch.save(state, root / "models/model.pt")
    rewrite(release, *((f"{NAME}/{path}", content) for path, content in contents(root).items()))
    refused(target, str(release), message)


def test_an_index_that_leads_astray(release: Path, target: Path):
    index = json.loads((release / "model_info.json").read_text())
    (release / "model_info.json").write_text(json.dumps({f"{NAME}_v/../../0": index[TITLE]}))
    refused(target, str(release), "leaves its folder")
    for text in ("{", "[]", json.dumps({TITLE: 3})):
        (release / "model_info.json").write_text(text)
        refused(target, str(release), "model_info.json")


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        (NAME, None, "There is no release of this project yet. Name a source: --source a folder or address"),
        (NAME, "", "There is no release of this project yet"),
        (NAME, "nowhere/at/all", "'nowhere/at/all' is neither there nor an address. Expected a folder"),
        (NAME, "ftp://host/x", "neither there nor an address"),
        (NAME, "hub:owner", "hub:owner/repo, or github:owner/repo@tag; found 'hub:owner'"),
        (NAME, "hub:../../x/y", "found 'hub:"),
        (NAME, "github:owner/repo", "found 'github:owner/repo'"),
        ("../" + NAME, None, "Expected the name of a bundle"),
        ("", None, "Expected the name of a bundle"),
    ],
)
def test_sources_that_are_none(target: Path, name: str, source: str | None, message: str):
    refused(target, source, message, name=name)


def test_unknown_bundles(release: Path, target: Path, server: Server):
    refused(target, str(release), r"has no bundle 'toy', only \['toy_segmentation_v0\.1\.0'\]", name="toy")
    refused(target, f"{server.url}/nothing", r"/nothing/model_info\.json: HTTP Error 404")
    refused(target, f"{server.url}/other.zip", r"has no other\.zip, only")


def test_a_zip_that_is_gone(release: Path, target: Path, server: Server):
    (release / ZIP).unlink()
    refused(target, server.url, "HTTP Error 404", OSError)
    refused(target, str(release), "No such file", OSError)


def test_addresses_and_texts_that_are_none(release: Path, target: Path):
    refused(target, "http://127.0.0.1:9/a b", "a b/model_info.json: .*control characters")
    (release / "model_info.json").write_bytes(b"\xff{}")
    refused(target, str(release), "model_info.json: .*utf-8")


def test_no_server(target: Path):
    refused(target, "http://127.0.0.1:9", "cannot be read: .*refused", OSError)


def test_hub(release: Path, root: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The addresses of a hub, on a server that has nothing else of one."""
    monkeypatch.setattr("dckd_ext.distribution.download._WAIT", 0.0)
    hub = tmp_path / "hub"
    for tag in ("0.1.0", "latest_version"):
        shutil.copytree(release / "hub" / TITLE, hub / "ann/toy/resolve" / tag)
    with serving(hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.drop_after = [1000]
        fetched = fetch_bundle(NAME, "hub:ann/toy", bundle_dir=target)
        assert (fetched.version, fetched.url) == ("0.1.0", f"{server.url}/ann/toy/resolve/latest_version")
        expected = contents(root)
        assert {
            path: content for path, content in contents(target / NAME).items() if path in expected
        } == expected
        assert ("/ann/toy/resolve/latest_version/models/model.pt", "bytes=1000-") in server.asked
        fetch_bundle(NAME, "hub:ann/toy", "0.1.0", target, force=True)
        with pytest.raises(ValueError, match="404"):
            fetch_bundle(NAME, "hub:ann/toy", "0.2.0", target, force=True)
        (hub / "ann/toy/resolve/0.1.0/LICENSE").write_text("changed")
        with pytest.raises(ValueError, match="LICENSE has SHA-256"):
            fetch_bundle(NAME, "hub:ann/toy", "0.1.0", target, force=True)
        sums = hub / "ann/toy/resolve/0.1.0/SHA256SUMS"
        sums.write_text(sums.read_text().replace("LICENSE", "../LICENSE"))
        with pytest.raises(ValueError, match=r"'\.\./LICENSE' leaves its folder"):
            fetch_bundle(NAME, "hub:ann/toy", "0.1.0", target, force=True)
    assert not list(target.glob(".partial*"))
