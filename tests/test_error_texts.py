"""One rule for the texts of errors: no full stop at the end, since other texts quote them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    file
    for room in ("dckd_ext", "label", "demo", "experiments", "benchmarks")
    for file in ROOT.glob(f"{room}/**/*.py")
]
SAYING = ("error", "exit", "SystemExit")  # parser.error, logger.error, sys.exit


def texts(tree: ast.AST) -> Iterator[ast.expr]:
    """What is raised, and what a program ends with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from node.exc.args[:1]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in SAYING:
            yield from node.args[:1]


def ends(text: ast.expr) -> Iterator[str]:
    """The constant ends of a text; none where it ends in a value."""
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        yield text.value
    elif isinstance(text, ast.JoinedStr):
        yield from ends(text.values[-1])
    elif isinstance(text, ast.BinOp):
        yield from ends(text.right)
    elif isinstance(text, ast.IfExp):
        yield from (end for branch in (text.body, text.orelse) for end in ends(branch))


def full_stops(source: str) -> list[str]:
    found = (end for text in texts(ast.parse(source)) for end in ends(text))
    return [end for end in found if end.endswith((".", "!")) and not end.endswith("...")]


@pytest.mark.parametrize(
    "source",
    [
        "raise ValueError('no.')",
        "raise ValueError(f'{x} is no number.') from error",
        "raise ValueError('a' if x else f'{x}.')",
        "raise ValueError(f'{x} is ' + 'no number.')",
        "sys.exit('dckd: no.')",
        "parser.error('no.')",
    ],
)
def test_the_rule_finds_a_full_stop(source: str):
    assert len(full_stops(source)) == 1


def test_no_error_ends_with_a_full_stop():
    assert len(FILES) > 100
    found = {str(file.relative_to(ROOT)): full_stops(file.read_text(encoding="utf-8")) for file in FILES}
    assert {file: ends for file, ends in found.items() if ends} == {}
