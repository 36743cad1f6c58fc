"""Zips: equal bytes from equal files; nothing outside its folder."""

import stat
import zipfile
from pathlib import Path

import pytest

from dckd_ext.distribution.archive import check_paths, unpack, write_zip

Entry = tuple[str | zipfile.ZipInfo, str]


def make_zip(path: Path, *entries: Entry) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def special(name: str, kind: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    return entry


def test_round_trip(tmp_path: Path):
    files = {"b/c.txt": tmp_path / "one", "a.bin": tmp_path / "two"}
    (tmp_path / "one").write_text("ünïcode")
    (tmp_path / "two").write_bytes(bytes(range(256)) * 9000)
    write_zip(files, "toy", tmp_path / "toy.zip")
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "toy.zip", "toy", tmp_path / "out")
    assert {path: (tmp_path / "out/toy" / path).read_bytes() for path in files} == {
        path: file.read_bytes() for path, file in files.items()
    }
    with zipfile.ZipFile(tmp_path / "toy.zip") as archive:
        assert archive.namelist() == ["toy/a.bin", "toy/b/c.txt"]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {stat.filemode(entry.external_attr >> 16) for entry in archive.infolist()} == {"-rw-r--r--"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("toy/../../evil", "x")], "leaves its folder"),
        ([("../evil", "x")], "leaves its folder"),
        ([("/evil", "x")], "leaves its folder"),
        ([("toy//evil", "x")], "leaves its folder"),
        ([("toy/..\\..\\evil", "x")], "leaves its folder"),
        ([("toy/C:evil", "x")], "leaves its folder"),
        ([(special("toy/link", stat.S_IFLNK), "/etc")], "'toy/link' is a link"),
        ([(special("toy/link", stat.S_IFLNK), ".."), ("toy/link/evil", "x")], "'toy/link' is a link"),
        ([(special("toy/pipe", stat.S_IFIFO), "")], "'toy/pipe' is a link or another special file"),
        ([("other/a", "x")], r"expected toy/ as the only top folder, found \['other'\]"),
        ([("toy/a", "x"), ("other/b", "x")], r"found \['other'\]"),
        ([("toy/a", "x"), ("other/", "")], r"found \['other'\]"),
        ([("a", "x")], r"found \['a'\]"),
        ([], "found nothing"),
        ([("toy/", "")], "found nothing"),
        ([("toy/a", "x"), ("toy/A", "y")], "'toy/A' comes twice"),
        ([("toy/a", "x"), ("toy/a/b", "y")], "files and folders at once"),
    ],
)
def test_refused(tmp_path: Path, entries: list[Entry], message: str):
    file = make_zip(tmp_path / "toy.zip", ("toy/first", "x"), *entries) if entries[:1] else None
    if "found nothing" in message:
        file = make_zip(tmp_path / "toy.zip", *entries)
    assert file is not None
    (tmp_path / "deep/out").mkdir(parents=True)
    with pytest.raises(ValueError, match=message):
        unpack(file, "toy", tmp_path / "deep/out")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dckd_ext.distribution.archive._MOST", 1000)
    file = make_zip(tmp_path / "toy.zip", ("toy/a", "x" * 600), ("toy/b", "x" * 600))
    with pytest.raises(ValueError, match="would unpack to"):
        unpack(file, "toy", tmp_path)
    assert not (tmp_path / "toy").exists()


def test_corrupted_and_truncated(tmp_path: Path):
    file = make_zip(tmp_path / "toy.zip", ("toy/a", "content " * 100))
    whole = file.read_bytes()
    for bad in (whole[:-40], whole[:100], b"", whole.replace(b"content content", b"content c0ntent", 1)):
        file.write_bytes(bad)
        with pytest.raises(ValueError, match="is no whole zip file"):
            unpack(file, "toy", tmp_path / "out")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_corrupted_and_compressed(tmp_path: Path, method: int):
    """Other packers compress, and then it is the decompressor that fails."""
    file = tmp_path / "toy.zip"
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("toy/a", bytes(range(256)) * 40)
    content = bytearray(file.read_bytes())
    content[50:120] = b"\xff" * 70
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is no whole zip file"):
        unpack(file, "toy", tmp_path / "out")


def test_plain_paths_pass():
    check_paths("sums", ["LICENSE", "configs/train.yaml", "docs/a b.md", "models/..model"])
