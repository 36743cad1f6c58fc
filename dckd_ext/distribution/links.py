"""Relative links of Markdown files: whether they lead to a packed file, and how they read elsewhere."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterator
from urllib.parse import quote, unquote, urlsplit

__all__ = ["dead_links", "moved_links"]

# code first, so that what looks like a link in it is none; then [](target), [name]: target, src= and href=
_TARGET = re.compile(
    r"""^\ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^\ {0,3}(?P=fence)|\Z)
    | (?P<ticks>`+)(?:(?!\n\s*\n).)+?(?P=ticks)
    | (?P<before>\]\(\s*<?|^\ {0,3}\[[^\]\n]+\]:\s*<?|\b(?:src|href)\s*=\s*["'])(?P<target>[^\s()<>"']+)""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


def dead_links(text: str, path: str, files: Container[str]) -> Iterator[str]:
    """Yield the relative links, in Markdown or HTML, that lead to no file.

    Addresses with a scheme and anchors inside the text are left alone.

    Args:
        text: Markdown.
        path: of the text, such as "docs/README.md".
        files: paths that there are.

    Examples:
        >>> list(dead_links("[data](data_license.txt), [results](../../results.md)", "docs/README.md",
        ...                 {"docs/data_license.txt"}))
        ['../../results.md']
    """
    for match in _TARGET.finditer(text):
        target = match["target"]
        if target and _is_relative(target) and _resolved(target, posixpath.dirname(path)) not in files:
            yield target


def moved_links(text: str, folder: str) -> str:
    """Return a text from ``folder`` with its relative links as they read one level above all folders.

    Examples:
        >>> moved_links("![curve](curve.png), [license](../LICENSE), [top](#top)", "docs")
        '![curve](docs/curve.png), [license](LICENSE), [top](#top)'
    """

    def moved(match: re.Match[str]) -> str:
        target = match["target"]
        if not target or not _is_relative(target):
            return match[0]
        rest = target[len(target.partition("#")[0].partition("?")[0]) :]
        return f"{match['before']}{quote(_resolved(target, folder))}{rest}"

    return _TARGET.sub(moved, text)


def _is_relative(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.path) and not parts.scheme and not parts.netloc


def _resolved(target: str, folder: str) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote(urlsplit(target).path)))
