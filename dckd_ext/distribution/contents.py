"""Which files of a bundle are packed, and the rules of the model zoo for them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from dckd_ext.bundle import is_distillation
from dckd_ext.distribution.links import dead_links

__all__ = ["LARGE", "file_problems", "packed_files"]

LARGE = 25 * 2**20
"""Bytes; the model zoo takes larger files through `large_files.yml` alone."""

_MOST = 2 * 2**30  # bytes, the limit of GitHub for one file of a release
# what runs leave at the top of a bundle; `data` is where its configs look for images, so for patients' images
_LEFT_BY_RUNS = {"output", "eval", "data", "logs", "mlruns", "models/previous", "models/model.json", "web"}
# what a release adds to the top of a bundle on a hub, and makes anew
_LEFT_BY_RELEASE = {"README.md", "SHA256SUMS", "large_files.yml"}
_KINDS: Mapping[str, frozenset[str]] = {
    "": frozenset({".py", ".md", ".txt"}),
    "configs": frozenset({".json", ".yaml", ".yml", ".conf"}),
    "docs": frozenset({".md", ".txt", ".png", ".jpg", ".jpeg", ".svg", ".pdf"}),
    "models": frozenset({".ts", ".onnx"}),
    "scripts": frozenset({".py"}),
}
_TEXT = {"", ".py", ".md", ".txt", ".json", ".yaml", ".yml", ".conf", ".svg"}
_PERSONAL = re.compile(
    r"/home/\w[^\s'\":,)]*|/Users/\w[^\s'\":,)]*|/root/\w[^\s'\":,)]*|[A-Za-z]:\\+Users\\+\w+"
)
_SECTIONS = ("Data", "Training configuration", "Input", "Output", "Performance", "Commands", "License")


def packed_files(root: Path) -> dict[str, Path]:
    """Return the files that are packed, by path inside the bundle ("configs/train.yaml"), sorted.

    Outputs, logs, caches, earlier weights, the folder `data`, hidden files and what a release adds are not.
    """
    found = {}
    for folder, folders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if _is_packed(here / name)]
        links = [name for name in folders if (root / here / name).is_symlink()]
        for name in [*names, *links]:
            if _is_packed(here / name):
                found[(here / name).as_posix()] = root / here / name
    return dict(sorted(found.items()))


def file_problems(root: Path) -> Iterator[str]:
    """Yield what is wrong with the files of a bundle, contents of metadata and weights apart."""
    files = packed_files(root)
    links = [path for path, file in files.items() if file.is_symlink()]
    yield from (f"{path}: is a symbolic link, expected a file" for path in links)
    files = {path: file for path, file in files.items() if path not in links}
    yield from _missing(root, files)
    for path, file in files.items():
        if not _known(path):
            yield f"{path}: files of this kind and place do not belong into a packed bundle"
        size = file.stat().st_size
        if size > LARGE and not path.startswith("models/"):
            yield f"{path}: has {size / 2**20:.1f} MB, at most 25 are allowed outside models/"
        if size > _MOST:
            yield f"{path}: has {size / 2**30:.1f} GB, a release takes at most 2"
        if PurePosixPath(path).suffix in _TEXT:
            yield from _text_problems(path, files)


def _missing(root: Path, files: Mapping[str, Path]) -> Iterator[str]:
    for path in ("LICENSE", "configs/metadata.json", "docs/README.md", "docs/data_license.txt"):
        if path not in files or not files[path].stat().st_size:
            yield f"{path}: is missing or empty"
    inference = sorted({"configs/inference.yaml", "configs/inference.json"} & files.keys())
    if not inference:
        yield "configs/inference.yaml (or .json): is missing"
    elif len(inference) > 1:
        yield f"{' and '.join(inference)}: expected one of them, since tools differ in which they take"
    weights = "models/model.pt"
    if is_distillation(root):
        if weights in files:
            yield f"{weights}: a distillation bundle has none, the weights it trains are the student bundle's"
    elif weights not in files:
        yield f"{weights}: is missing; a released bundle has weights, so train it first (docs/README.md)"


def _known(path: str) -> bool:
    parts = PurePosixPath(path)
    folder = parts.parts[0] if len(parts.parts) > 1 else ""
    return path in ("LICENSE", "models/model.pt") or parts.suffix in _KINDS.get(folder, ())


def _text_problems(path: str, files: Mapping[str, Path]) -> Iterator[str]:
    try:
        text = files[path].read_text(encoding="utf-8")
    except UnicodeDecodeError:
        yield f"{path}: is not text in UTF-8"
        return
    home = str(Path.home())
    for number, line in enumerate(text.splitlines(), 1):
        personal = _PERSONAL.search(line)
        if personal or (len(home) > 1 and f"{home}/" in line):
            yield f"{path}: line {number} has a personal path, {personal.group() if personal else home}"
    if path.endswith(".json"):
        yield from _json_problems(path, text)
    if path.endswith(".md"):
        dead = dead_links(text, path, files)
        yield from (f"{path}: the link {target!r} leads to no packed file" for target in dead)
    if path == "docs/README.md":
        titles = {match.strip().casefold() for match in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
        absent = [name for name in _SECTIONS if not any(name.casefold() in title for title in titles)]
        if absent:
            yield f"{path}: has no section {', '.join(map(repr, absent))}"


def _json_problems(path: str, text: str) -> Iterator[str]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        yield f"{path}: is not JSON: {error}"
        return
    if text.rstrip("\n") not in {
        json.dumps(value, indent=4, ensure_ascii=ascii_) for ascii_ in (True, False)
    }:
        yield f"{path}: expected JSON as json.dumps(..., indent=4) writes it"


def _is_packed(path: Path) -> bool:
    name = path.name
    return not (
        name.startswith(".")
        or name == "__pycache__"
        or name.endswith((".log", ".pyc"))
        or name.startswith("events.out.tfevents")
        or path.as_posix() in _LEFT_BY_RUNS | _LEFT_BY_RELEASE
    )
