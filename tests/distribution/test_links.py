"""Links of a model card: in the bundle, and at the other depth of a hub's card."""

import re
from html.parser import HTMLParser
from pathlib import Path

import markdown
import pytest

from dckd_ext.distribution import pack_bundles, violations
from dckd_ext.distribution.links import dead_links, moved_links
from tests.conftest import BUNDLES
from tests.distribution.examples import README, TITLE, make_bundle

FILES = {"LICENSE", "docs/README.md", "docs/curve one.png", "docs/data_license.txt", "configs/train.yaml"}
GOOD = """# Card

See [licence](../LICENSE "the text"), [data](<data_license.txt>) and [self](README.md#card), [top](#card),
[elsewhere](https://example.org/a.md), <https://example.org/b.md>, [mail](mailto:a@example.org),
`[no](none.md)`.

![curve](curve%20one.png) [![linked](./curve%20one.png)](../configs/train.yaml)
<img src="curve%20one.png" width="30"> <a href='//example.org/c'>host</a>

[reference]

[reference]: ../configs/train.yaml

```
[code](none.md)
```
"""


class Targets(HTMLParser):
    """What a browser would follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(markdown.markdown(text, extensions=["fenced_code"]))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attributes if key in ("href", "src") and value]


def test_a_card_whose_links_all_lead_somewhere():
    assert list(dead_links(GOOD, "docs/README.md", FILES)) == []


def test_every_relative_link_is_seen():
    """Where there is no file at all, what is dead is what a Markdown renderer links to, addresses apart."""
    linked = [target for target in Targets(GOOD).found if not re.match(r"https?:|mailto:|//|#", target)]
    assert sorted(set(dead_links(GOOD, "docs/README.md", ()))) == sorted(set(linked))
    assert len(set(linked)) == 6


@pytest.mark.parametrize(
    "text",
    [
        "[results](../../../docs/results.md)",
        "[results]( ../../../docs/results.md 'title')",
        "![curve](../../../docs/results.md)",
        "[a](https://x.org/y), [b][c]\n\n[c]: ../../../docs/results.md",
        '<img src="../../../docs/results.md">',
        "one ` too many\n\n[results](../../../docs/results.md) `code`",
        "`code` and [results](../../../docs/results.md) `code`",
        "```\ncode\n```\n[results](../../../docs/results.md)",
        "[results](../../../docs/results.md#tables)",
    ],
)
def test_a_link_out_of_the_bundle(tmp_path: Path, text: str):
    root = make_bundle(tmp_path)
    (root / "docs/README.md").write_text(f"{README}\n\n{text}\n")
    (found,) = violations(root)
    assert found.startswith("docs/README.md: the link '../../../docs/results.md")
    assert found.endswith("leads to no packed file")


def test_a_link_to_a_file_that_is_not_packed(tmp_path: Path):
    root = make_bundle(tmp_path)
    (root / "output").mkdir()
    (root / "output/curve.png").write_bytes(b"x")
    (root / "docs/README.md").write_text(f"{README}\n\n![curve](../output/curve.png)\n")
    assert violations(root) == ["docs/README.md: the link '../output/curve.png' leads to no packed file"]


def test_a_link_from_the_root_of_a_disk(tmp_path: Path):
    assert list(dead_links("[a](/LICENSE)", "docs/README.md", FILES)) == ["/LICENSE"]


def test_the_card_one_folder_up():
    moved = moved_links(GOOD, "docs")
    assert list(dead_links(moved, "README.md", FILES)) == []
    assert "[licence](LICENSE " in moved
    assert "(docs/README.md#card), [top](#card)" in moved
    assert "`[no](none.md)`" in moved
    assert "[code](none.md)" in moved
    assert "https://example.org/a.md" in moved


def test_the_card_of_a_hub(tmp_path: Path):
    root = make_bundle(tmp_path)
    (root / "docs/curve.png").write_bytes(b"x")
    (root / "docs/README.md").write_text(f"{README}\n\n![curve](curve.png) [licence](../LICENSE)\n")
    pack_bundles([root], tmp_path / "out")
    hub = tmp_path / "out/hub" / TITLE
    card, inner = ((hub / path).read_text() for path in ("README.md", "docs/README.md"))
    assert "![curve](docs/curve.png) [licence](LICENSE)" in card
    assert "![curve](curve.png) [licence](../LICENSE)" in inner
    assert [(hub / target).is_file() for target in Targets(card).found] == [True, True]


@pytest.mark.parametrize("root", sorted(BUNDLES.glob("*_*")), ids=lambda root: root.name)
def test_the_shipped_cards_name_the_repository_in_words(root: Path):
    text = (root / "docs" / "README.md").read_text()
    assert [target for target in Targets(text).found if not target.startswith("http")] == []
