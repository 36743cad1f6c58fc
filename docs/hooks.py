"""What the site takes besides docs/: pages of the root, model cards, notebooks, and files that pages link to.

A link means in the site what it means in the repository. After the build it is checked that the API reference
has every public name, and that no page loads anything from elsewhere.
"""

import json
import os
import re
from importlib import import_module
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import dckd_ext

ROOT = Path(__file__).parent.parent
PAGES = {  # in the site: in the repository
    "index.md": ROOT / "README.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    **{f"bundles/{card.parts[-3]}.md": card for card in ROOT.glob("bundles/*/docs/README.md")},
    **{f"notebooks/{notebook.stem}.md": notebook for notebook in ROOT.glob("docs/notebooks/*.ipynb")},
}
PLACES = {source: uri for uri, source in PAGES.items()}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)[^)#\s]+")
LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere; of all other files take those that a page links to."""
    for uri, source in PAGES.items():
        files.append(File.generated(config, uri, content=_markdown(source)))
    pages = files.documentation_pages()
    linked = {_target(link, page) for page in pages for link in LINK.findall(page.content_string)}
    wanted = {*linked, *map(_source, pages), *(ROOT / "docs" / name for name in config.extra_css)}
    for file in list(files):
        if file.src_dir == config.docs_dir and _source(file) not in wanted:
            files.remove(file)
    for source in linked:
        if source.is_file() and source not in PLACES and files.get_file_from_path(_place(source)) is None:
            files.append(File.generated(config, _place(source), abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site."""
    folder = Path("/", page.file.src_uri).parent
    return LINK.sub(
        lambda link: os.path.relpath(Path("/", _place(_target(link[0], page.file))), folder), markdown
    )


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that leaves out a public name, or loads anything from elsewhere."""
    site = Path(config.site_dir)
    for room in dckd_ext.__all__:
        page = (site / "api" / f"{room}.html").read_text(encoding="utf-8")
        names = import_module(f"dckd_ext.{room}").__all__
        if missing := [name for name in names if f'id="dckd_ext.{room}.{name}"' not in page]:
            raise PluginError(f"docs/api/{room}.md leaves out {missing}")
    for file in site.rglob("*.html"):
        if loaded := LOADED.findall(file.read_text(encoding="utf-8")):
            raise PluginError(f"{file} loads {loaded}")


def _markdown(source: Path) -> str:
    text = source.read_text(encoding="utf-8")
    if source.suffix != ".ipynb":
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        part = "".join(cell["source"])
        parts.append(part if cell["cell_type"] == "markdown" else f"```python\n{part}\n```")
    return "\n\n".join([*parts, f"This page is the notebook `{source.relative_to(ROOT)}`."])


def _source(file: File) -> Path:
    return PAGES.get(file.src_uri, ROOT / "docs" / file.src_uri)


def _target(link: str, page: File) -> Path:
    return Path(os.path.normpath(_source(page).parent / link))


def _place(source: Path) -> str:
    if source in PLACES:
        return PLACES[source]
    path = source.relative_to(ROOT).as_posix()
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"
