"""Config files merged as MONAI merges them, but with the file that each key comes from."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from monai.bundle import ConfigComponent, ConfigExpression, ConfigParser, ReferenceResolver
from monai.bundle.utils import MERGE_KEY, merge_kv

from dckd_ext.lint.expressions import macro_target, parse, reference_of

__all__ = [
    "COMMAND_LINE",
    "META",
    "Config",
    "Finding",
    "inside",
    "join",
    "load_file",
    "nearest",
    "shown",
    "walk",
]

META = ConfigParser.meta_key
COMMAND_LINE = "command line"
_SEP = ReferenceResolver.sep


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong: the file and the key in it, what was found and what is expected.

    Findings that differ in the hint alone are the same. A note is what may be meant so.
    """

    file: str
    key: str
    text: str
    hint: str = field(default="", compare=False)
    severity: Literal["error", "note"] = "error"

    def __str__(self) -> str:
        mark = "note: " if self.severity == "note" else ""
        return f"{mark}{self.file}: {self.key}: {self.text}" + (f"; {self.hint}" if self.hint else "")


class Config:
    """A list of config files as one tree; later files change earlier ones, overrides change them all.

    Keys have MONAI's ids, ``train::trainer::max_epochs``. Nothing is evaluated or instantiated.

    Args:
        root: folder of the bundle.
        files: config files, in the order in which MONAI is given them.
        overrides: value of each id of the command line; those that the config does not know stay out.

    Attributes:
        contents: what each file holds, by id.
        unknown: the overrides that stayed out.
        findings: keys that cannot be merged.

    Raises:
        ValueError: if a file cannot be read as JSON or YAML with a mapping at its top.
    """

    def __init__(self, root: Path, files: Sequence[Path], overrides: Mapping[str, Any] | None = None):
        self.root = root
        self.files = [str(file) for file in files]
        self.findings: list[Finding] = []
        self.contents = {str(file): load_file(file) for file in files}
        self._parser = ConfigParser({})
        self._origins: dict[str, str] = {}
        for file, content in self.contents.items():
            for key, value in content.items():
                self._merge(file, key, value)
        metadata = root / "configs" / "metadata.json"
        if metadata.is_file():
            self._merge(str(metadata), META, load_file(metadata))
        given = {ReferenceResolver.normalize_id(key): value for key, value in (overrides or {}).items()}
        self.unknown = [key for key in given if not self._takes(key)]
        self.contents[COMMAND_LINE] = {key: given[key] for key in given if key not in self.unknown}
        for key, value in self.contents[COMMAND_LINE].items():
            self._merge(COMMAND_LINE, key, value)

    def __contains__(self, at: str) -> bool:
        try:
            self.find(at)
        except KeyError:
            return False
        return True

    def find(self, at: str, _trail: tuple[str, ...] = ()) -> Any:
        """Return the content of an id, also where a macro (``%id``) puts it.

        Raises:
            KeyError: if there is no such id.
        """
        if at in _trail:
            raise KeyError(at)  # macros in a circle
        node, here = self._parser.get(), ""
        for part in ReferenceResolver.split_id(at):
            node = _child(node, part)
            here = join(here, part)
            if target := macro_target(here, node):
                node = self._macro(*target, (*_trail, at))
        return node

    def definition(self, at: str) -> tuple[str, Any]:
        """Follow whole references (``@id``) and macros; return the id where the content stands, and it."""
        seen: set[str] = set()
        while at in self and at not in seen:
            seen.add(at)
            target = reference_of(at, self._parser.get(at))
            if target is None:
                break
            at = target
        return at, self.find(at) if at in self else None

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield every id with its content as written, containers before their parts; without the metadata."""
        for key, value in self.top().items():
            yield from walk(key, value)

    def top(self) -> dict[str, Any]:
        """Return the keys at the top, as written; without the metadata."""
        return {str(key): value for key, value in self._parser.get().items() if key != META}

    def expressions(self) -> Iterator[tuple[str, ast.AST]]:
        """Yield every id of an expression that is Python, parsed."""
        for at, node in self.items():
            if ConfigExpression.is_expression(node):
                with suppress(SyntaxError):
                    yield at, parse(at, node)

    def origin(self, at: str) -> str:
        """Return the file that sets an id last, or the nearest key above it."""
        while at and at not in self._origins:
            at = ReferenceResolver.split_id(at, last=True)[0] if _SEP in at else ""
        return self._origins.get(at, self.files[0])

    def finding(self, at: str, text: str, hint: str = "") -> Finding:
        """Make a finding at an id, in the file that sets it."""
        return Finding(self.origin(at), shown(at), text, hint)

    def _macro(self, path: str, at: str, trail: tuple[str, ...]) -> Any:
        if not path:
            return self.find(at, trail)
        for file in (Path(path), self.root / path):
            if file.is_file():
                node = load_file(file)
                for part in ReferenceResolver.split_id(at) if at else ():
                    node = _child(node, part)
                return node
        raise KeyError(path)

    def _takes(self, at: str) -> bool:
        """Tell if a key is known, or an argument of a component, whose signature is checked later."""
        parent = ReferenceResolver.split_id(at, last=True)[0]
        return at in self or bool(
            parent and parent in self and ConfigComponent.is_instantiable(self.find(parent))
        )

    def _merge(self, file: str, key: str, value: Any) -> None:
        at = ReferenceResolver.normalize_id(key).removeprefix(MERGE_KEY)
        before = self._parser.get(at)
        length = len(before) if key.startswith(MERGE_KEY) and isinstance(before, list) else 0
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # where there is nothing to add to, "+key" makes the key
                merge_kv(self._parser, key, deepcopy(value))
        except (KeyError, ValueError, IndexError, TypeError):
            ids = [shown(known) for known, _ in self.items()]
            text = "there is nothing above it that it could be set in"
            self.findings.append(Finding(file, key, text, nearest(shown(at), ids)))
            return
        if key.startswith(MERGE_KEY) and before is not None:
            added = value if isinstance(value, dict) else range(length, length + len(value))
            self._origins.update({join(at, str(part)): file for part in added})
            return
        self._origins = {other: name for other, name in self._origins.items() if not inside(other, at)}
        self._origins[at] = file


def load_file(file: Path) -> dict[str, Any]:
    """Read a JSON or YAML file with a mapping at its top.

    Raises:
        ValueError: naming the file, if it is something else or has a key twice.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # MONAI only warns of a key that is there twice
            content = ConfigParser.load_config_file(file)
    except OSError:
        raise
    except Exception as error:  # each of the two readers has errors of its own
        raise ValueError(f"{file}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected a mapping at its top, found {type(content).__name__}")
    return content


def walk(at: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield an id with its content, and all that is inside."""
    yield at, node
    if isinstance(node, (dict, list)):
        for _, sub_id, value in ReferenceResolver.iter_subconfigs(at, node):
            yield from walk(sub_id, value)


def nearest(name: str, known: Sequence[str]) -> str:
    """Hint at the known names that look most like one that is not known."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"nearest: {', '.join(close)}" if close else "nothing is called like it"


def inside(at: str, other: str) -> bool:
    """Tell whether an id is another one, or below it."""
    return at == other or at.startswith(other + _SEP)


def join(at: str, key: str) -> str:
    """Return the id of a key below an id."""
    return f"{at}{_SEP}{key}" if at else key


def shown(at: str) -> str:
    """Write an id as configs do."""
    return at.replace(_SEP, "#")


def _child(node: Any, part: str) -> Any:
    if isinstance(node, dict):
        return {str(key): value for key, value in node.items()}[part]
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    raise KeyError(part)
