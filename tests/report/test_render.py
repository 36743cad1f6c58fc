"""Markdown against a reader of it: what a name holds is shown, and is nothing but text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dckd_ext.report.render import markdown_table, markdown_text

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = [
    "a|b",
    "a\\|b",
    "line\nbreak",
    "carriage\rreturn",
    "separator\u2028line",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "`code`",
    "``",
    "*bold* **bold** _it_ __it__ ~~gone~~",
    "[link](javascript:alert(1))",
    "![image](https://host/x.png)",
    "[a][b]",
    "<https://host>",
    "&lt;&amp;&#60;",
    "title #",
    "\\",
    "dice_left kd_0.3",
    "| --- |",
]


class Shown(HTMLParser):
    """The tags of a page, and its text by cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag in ("td", "th", "h1"):
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts and data.strip("\n"):
            self.texts[-1] += data


def check(text: str) -> None:
    expected = " ".join(text.split())
    heading = Shown(READER.render(f"# {markdown_text(text)}"))
    assert heading.tags == ["h1"]
    assert heading.texts == [expected]
    table = Shown(READER.render(markdown_table([["run", text], [text, "0.8000 [0.7, 0.9]"], ["x", "y"]])))
    assert table.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td", "tr", "td", "td"]
    assert table.texts == ["run", expected, expected, "0.8000 [0.7, 0.9]", "x", "y"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_shown_as_it_is(text: str):
    check(text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30))
def test_any_text_is_shown_as_it_is(text: str):
    check(text)


@given(st.text("ab_*`|\\<>&[]()!~# \n-:", max_size=12))
def test_any_row_of_marks_is_shown_as_it_is(text: str):
    check(text)


def test_numbers_and_common_names_stay_readable():
    assert markdown_text("kd_0.3 - plain 0.8000 [0.7, 0.9]") == "kd_0.3 - plain 0.8000 [0.7, 0.9]"
