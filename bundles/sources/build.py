"""Write the bundles from one source and the tables of what they differ in, values.yaml and texts.yaml.

The command is `make bundles`. The sources are Jinja2 templates that read as YAML: `<<name>>` is a value of
the tables, and the statements, `#% ... %#`, are comments to YAML. Model cards and weights are the bundles'
own and stay as they are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["build", "bundle_files"]

SOURCES = Path(__file__).resolve().parent
CONFIGS = ("train.yaml", "inference.yaml", "evaluate.yaml", "multi_gpu_train.yaml", "logging.conf")
HEADER = '# Made by "make bundles" from bundles/sources/{}. In a copy of this bundle, edit this file.\n'


def build(folder: Path) -> None:
    """Write all bundles.

    Args:
        folder: gets one folder a bundle; what is not made from the sources stays there.

    Raises:
        jinja2.UndefinedError: if a source uses a value that the table has not.
    """
    for path, text in bundle_files():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")


def bundle_files() -> Iterator[tuple[str, str]]:
    """Yield path ("abus_distillation/configs/train.yaml") and text of every file that is made."""
    table, texts = (yaml.safe_load(_read(name)) for name in ("values.yaml", "texts.yaml"))
    for bundle, own in table["bundles"].items():
        family, _, kind = bundle.partition("_")
        common = {**table["families"][family], **texts["families"][family], **table["kinds"][kind]}
        values = {**common, **own, **texts["bundles"][bundle], "family": family}
        for name in (*CONFIGS, *values["overlays"]):
            yield f"{bundle}/configs/{name}", HEADER.format(name) + _render(name, values)
        metadata = yaml.safe_load(_render("metadata.yaml", values))
        yield f"{bundle}/configs/metadata.json", json.dumps(metadata, indent=4) + "\n"
        yield f"{bundle}/LICENSE", _read("../../LICENSE")
        for path in values["files"]:
            yield f"{bundle}/{path}", _read(f"{family}/{Path(path).name}")


def _render(name: str, values: dict[str, Any]) -> str:
    return _TEMPLATES.get_template(name).render(values)


def _read(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


_TEMPLATES = Environment(
    loader=FileSystemLoader(SOURCES),
    variable_start_string="<<",
    variable_end_string=">>",
    block_start_string="#%",
    block_end_string="%#",
    trim_blocks=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # no HTML
)
_TEMPLATES.policies["json.dumps_kwargs"] = {}  # keys in the order of the table

if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES.parent)
