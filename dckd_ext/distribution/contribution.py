"""A bundle as MONAI's model zoo takes it: its inference needs MONAI and the packages of its metadata alone.

    python -m dckd_ext.distribution.contribution BUNDLE... --out DIR

DIR gets the files in the places of the zoo's repository.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from dckd_ext.bundle import is_distillation
from dckd_ext.bundle.config import config_file
from dckd_ext.distribution.archive import sha256_of
from dckd_ext.distribution.contents import LARGE, packed_files
from dckd_ext.distribution.metadata import METADATA, read_metadata
from dckd_ext.utils.folders import staged

__all__ = ["main", "needed_modules", "write_contribution"]

_PACKAGE = "dckd_ext"
_SCRIPTS = f'''"""The parts of {_PACKAGE} that inference needs, for where the package is not installed."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("{_PACKAGE}") is None:
    sys.path.append(str(Path(__file__).resolve().parent))
'''
_IMPORT = "imports:\n- $import scripts   # {package} from this folder, where it is not installed\n"
_TEST = '''"""Runs the inference of {name} on a small volume."""

import os
import sys
import tempfile
import unittest

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow
from utils import check_workflow

BUNDLE = "models/{name}"


class TestInference(unittest.TestCase):
    def test_inference(self):
        sys.path = [BUNDLE, *sys.path]
        with tempfile.TemporaryDirectory() as folder:
            image = np.random.default_rng(0).normal(100, 9, {shape}).astype(np.float32)
            nib.save(nib.Nifti1Image(image, np.eye(4)), os.path.join(folder, "case.nii.gz"))
            workflow = ConfigWorkflow(
                workflow_type="infer",
                config_file=os.path.join(BUNDLE, "configs/inference.yaml"),
                logging_file=os.path.join(BUNDLE, "configs/logging.conf"),
                meta_file=os.path.join(BUNDLE, "configs/metadata.json"),
                bundle_root=BUNDLE,
                dataset_dir=folder,
                output_dir=os.path.join(folder, "masks"),
            )
            check_workflow(workflow, check_properties=True)
            mask = nib.load(os.path.join(folder, "masks", "case_seg.nii.gz"))
            self.assertEqual(mask.shape, image.shape)


if __name__ == "__main__":
    unittest.main()
'''


def write_contribution(bundle: str | PathLike[str], out: str | PathLike[str]) -> list[Path]:
    """Write a bundle, its test and the list of its large files as the model zoo's repository has them.

    The bundle gets ``scripts`` with the modules of this package that its inference config needs, which are
    used where the package is not installed. Its training configs still need the package.

    Args:
        bundle: folder of a bundle with weights and an ``inference.yaml``.
        out: gets ``models/NAME`` and ``ci/unit_tests/test_NAME.py``.

    Returns:
        The two paths.

    Raises:
        FileNotFoundError: if the folder or its config is missing.
        ValueError: if the bundle has no weights of its own.
    """
    root, out = Path(bundle).expanduser().resolve(), Path(out).expanduser().resolve()
    config = config_file(root)
    if is_distillation(root) or not (root / "models" / "model.pt").is_file():
        raise ValueError(f"{root.name} has no weights: the model zoo takes bundles that segment")
    files, large = packed_files(root), []
    with staged(out) as stage:
        target = stage / root.name
        for path, file in files.items():
            if file.stat().st_size > LARGE:
                large.append((path, file))
                continue
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / path)
        _write_scripts(target / "scripts")
        text = config.read_text(encoding="utf-8")
        (target / "configs" / config.name).write_text(
            text.replace("imports:\n", _IMPORT.format(package=_PACKAGE), 1), encoding="utf-8"
        )
        metadata = read_metadata(root)
        metadata["required_packages_version"].pop("dckd-ext", None)
        (target / METADATA).write_text(json.dumps(metadata, indent=4) + "\n", encoding="utf-8")
        if large:
            (target / "large_files.yml").write_text(_large_files(large), encoding="utf-8")
        place = out / "models" / root.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        target.replace(place)
    shape = metadata["network_data_format"]["inputs"]["image"]["spatial_shape"]
    test = out / "ci" / "unit_tests" / f"test_{root.name}.py"
    test.parent.mkdir(parents=True, exist_ok=True)
    test.write_text(_TEST.format(name=root.name, shape=tuple(shape)), encoding="utf-8")
    return [place, test]


def needed_modules() -> dict[str, Path]:
    """Return the modules of this package that the inference configs of its bundles need, by name.

    They are those that the rooms named in these configs import, with what these import in turn.
    """
    rooms = ("bundle", "data", "engines", "inferers", "networks", "transforms")
    found: dict[str, Path] = {}
    todo = [f"{_PACKAGE}.{room}" for room in rooms]
    while todo:
        name = todo.pop()
        spec = None if name in found else find_spec(name)
        if spec is None or spec.origin is None:
            continue
        found[name] = Path(spec.origin)
        todo += [name.rpartition(".")[0], *_imports(found[name])] if "." in name else _imports(found[name])
    return dict(sorted(found.items()))


def _imports(file: Path) -> Iterator[str]:
    """Yield the modules of this package that a module imports, and names in them that may be modules."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == _PACKAGE:
            yield str(node.module)
            yield from (
                f"{node.module}.{alias.name}" for alias in node.names if _is_module(node.module, alias.name)
            )
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == _PACKAGE)


def _is_module(package: str | None, name: str) -> bool:
    spec = find_spec(str(package))
    return spec is not None and any(
        (Path(folder) / f"{name}.py").is_file() for folder in spec.submodule_search_locations or ()
    )


def _write_scripts(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(_SCRIPTS, encoding="utf-8")
    home = Path(str(find_spec(_PACKAGE).origin)).parent  # type: ignore[union-attr]
    for file in needed_modules().values():
        copy = folder / _PACKAGE / file.relative_to(home)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _large_files(files: Sequence[tuple[str, Path]]) -> str:
    """List files that the zoo downloads; their addresses are to be filled in."""
    lines = ["large_files:"]
    for path, file in files:
        lines += [
            f'- path: "{path}"',
            '  url: ""',
            f'  hash_val: "{sha256_of(file)}"',
            '  hash_type: "sha256"',
        ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write bundles as MONAI's model zoo takes them.")
    parser.add_argument("bundles", nargs="+", help="folders of bundles with weights")
    parser.add_argument("--out", required=True, help="gets models/NAME and ci/unit_tests")
    options = parser.parse_args(arguments)
    for bundle in options.bundles:
        print(*write_contribution(bundle, options.out), sep="\n")


if __name__ == "__main__":
    main()
