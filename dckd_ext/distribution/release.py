"""The files of a release: zips, their index, checksums, and one folder a bundle for a hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from dckd_ext.distribution.archive import sha256_of, write_zip
from dckd_ext.distribution.contents import LARGE, packed_files
from dckd_ext.distribution.links import moved_links
from dckd_ext.distribution.metadata import name_problems, read_metadata
from dckd_ext.distribution.rules import violations
from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.folders import staged

__all__ = ["CHECKSUMS", "INDEX", "Packed", "pack_bundles"]

INDEX, CHECKSUMS = "model_info.json", "SHA256SUMS"


@dataclass(frozen=True)
class Packed:
    """One packed bundle: its files by path inside it, and what `model_info.json` says of its zip."""

    name: str
    version: str
    files: dict[str, Path]
    sha256: str
    size: int

    @property
    def title(self) -> str:
        """Name and version, as MONAI writes them."""
        return f"{self.name}_v{self.version}"

    @property
    def large(self) -> dict[str, str]:
        """Names in the release of the files that the model zoo takes through `large_files.yml` alone."""
        return {
            path: f"{self.title}_{path.replace('/', '_')}"
            for path, file in self.files.items()
            if file.stat().st_size > LARGE
        }


def pack_bundles(
    bundles: Sequence[str | PathLike[str]], out: str | PathLike[str], url: str = ""
) -> list[Packed]:
    """Check bundles and pack them into a release folder; if one of them violates a rule, none is packed.

    Names are checked before the config of any bundle is run. Equal bundles give equal bytes. Earlier versions
    in the folder and in its `model_info.json` stay.

    Args:
        bundles: folders of bundles.
        out: folder of the release, see docs/release.md for its files.
        url: address that the release folder will have, for the addresses in `model_info.json` and
            `large_files.yml`; without it they are relative to the folder.

    Returns:
        What was packed, in the given order.

    Raises:
        FileNotFoundError: if a folder is missing.
        ValueError: if there are violations, which are all named, or a version was packed before with other
            contents.
        OSError: if the release folder cannot be written to, or another process has it.
    """
    roots = [Path(bundle).expanduser().resolve() for bundle in bundles]
    if not roots or len({root.name for root in roots}) < len(roots):
        raise ValueError(f"Expected one or more bundles of different names, found {[*map(str, roots)]}")
    if url and "://" not in url:
        raise ValueError(f"Expected an address such as https://host/folder for the release, found {url!r}")
    found = {root: list(name_problems(root)) for root in roots}
    if not any(found.values()):
        found = {root: violations(root) for root in roots}
    if any(found.values()):
        lines = [f"{root.name}: {problem}" for root, problems in found.items() for problem in problems]
        raise ValueError("\n  ".join([f"nothing is packed, {len(lines)} problem(s):", *lines]))
    out = Path(out)
    with staged(out) as stage:
        packed = [_write_bundle(root, stage, url) for root in roots]
        index = _index(out / INDEX, packed, url)
        for bundle in packed:
            _move(stage, out, bundle)
        # last, so that the index never names a zip that is not there
        with written_whole(out / INDEX) as beside:
            beside.write_text(json.dumps(index, indent=4) + "\n", encoding="utf-8")
        zips_and_weights = (file for file in out.iterdir() if file.suffix in (".zip", ".pt", ".ts", ".onnx"))
        _write_checksums(out, [*zips_and_weights, out / INDEX])
    return packed


def _write_bundle(root: Path, stage: Path, url: str) -> Packed:
    files = packed_files(root)
    version = read_metadata(root)["version"]
    file = stage / f"{root.name}_v{version}.zip"
    write_zip(files, root.name, file)
    packed = Packed(root.name, version, files, sha256_of(file), file.stat().st_size)
    for path, name in packed.large.items():
        shutil.copyfile(files[path], stage / name)
    _write_hub(packed, stage / "hub" / packed.title, url)
    return packed


def _index(file: Path, packed: Sequence[Packed], url: str) -> dict[str, dict[str, Any]]:
    """Add bundles to the index in ``file``; a version that was published is never changed."""
    index = _read_index(file) if file.is_file() else {}
    for bundle in packed:
        before = index.get(bundle.title, {}).get("sha256", bundle.sha256)
        if before != bundle.sha256:
            raise ValueError(
                f"{file}: {bundle.title} was packed before with other contents (sha256 {before}, now "
                f"{bundle.sha256}). Raise 'version' in its metadata and add it to 'changelog'; if that one "
                "was never published, remove the release folder and pack anew"
            )
        index[bundle.title] = {
            "version": bundle.version,
            "sha256": bundle.sha256,
            "size": bundle.size,
            "source": _address(url, f"{bundle.title}.zip"),
        }
    return dict(sorted(index.items()))


def _read_index(file: Path) -> dict[str, dict[str, Any]]:
    index = read_mapping(file)
    if not all(isinstance(entry, dict) for entry in index.values()):
        raise ValueError(f"{file}: expected an object of one entry a version of a bundle")
    return index


def _write_hub(packed: Packed, folder: Path, url: str) -> None:
    """Write the bundle as files, with a model card and checksums, as a repository of a hub holds it."""
    for path, file in packed.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / path)
    if packed.large:
        (folder / "large_files.yml").write_text(_large_files(packed, url), encoding="utf-8")
    (folder / "README.md").write_text(_model_card(packed.files), encoding="utf-8")
    _write_checksums(folder, [file for file in folder.rglob("*") if file.is_file()])


def _large_files(packed: Packed, url: str) -> str:
    entries = [
        {
            "path": path,
            "url": _address(url, name),
            "hash_val": sha256_of(packed.files[path]),
            "hash_type": "sha256",
        }
        for path, name in packed.large.items()
    ]
    return str(yaml.safe_dump({"large_files": entries}, sort_keys=False))


def _model_card(files: dict[str, Path]) -> str:
    license_text = files["LICENSE"].read_text(encoding="utf-8")
    is_apache = "Apache License" in license_text and "Version 2.0" in license_text
    head = {
        "license": "apache-2.0" if is_apache else "other",
        "library_name": "monai",
        "pipeline_tag": "image-segmentation",
        "tags": ["monai", "medical", "3d", "segmentation", "knowledge-distillation"],
    }
    text = moved_links(files["docs/README.md"].read_text(encoding="utf-8"), "docs")
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{text}"


def _write_checksums(folder: Path, files: Sequence[Path]) -> None:
    """Write what `sha256sum --check SHA256SUMS` reads."""
    sums = {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
    with written_whole(folder / CHECKSUMS) as beside:
        beside.write_text("".join(f"{sums[path]}  {path}\n" for path in sorted(sums)), encoding="utf-8")


def _move(stage: Path, out: Path, packed: Packed) -> None:
    (out / "hub").mkdir(exist_ok=True)
    hub = f"hub/{packed.title}"
    if (out / hub).exists():  # of the same contents, but perhaps another address
        shutil.rmtree(out / hub)
    for path in (hub, *packed.large.values(), f"{packed.title}.zip"):
        os.replace(stage / path, out / path)


def _address(url: str, name: str) -> str:
    return f"{url.rstrip('/')}/{name}" if url else name
