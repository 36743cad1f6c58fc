"""JSON and YAML files, with errors that name the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

__all__ = ["read_mapping"]


def read_mapping(file: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file that maps names to values: YAML if its name ends so, else JSON.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it holds something else; names the file, and the place in it as far as it is known.
    """
    path = Path(file)
    kind = "YAML" if path.suffix in (".yaml", ".yml") else "JSON"
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if kind == "YAML" else json.loads(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: expected {kind}, found {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected names with values, found {type(content).__name__}")
    return content
