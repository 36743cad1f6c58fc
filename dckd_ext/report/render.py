"""A report as Markdown and as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from dckd_ext.data.folders import all_cases
from dckd_ext.report.runs import Run
from dckd_ext.report.tables import (
    Comparison,
    Table,
    case_table,
    cost_table,
    difference_table,
    lesion_table,
    score_table,
    source_table,
    volume_table,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["markdown", "markdown_table", "markdown_text", "page"]

# what is no text to Markdown anywhere in a line; brackets where they make a link, _ where it is in no word
_MARKS = re.compile(r"[\\`*|~#]|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])")

_RESEARCH = "Research only. Not a medical device; not for diagnosis."
_STYLE = """
:root { color-scheme: light dark; --line: #ccc; --ink: #222; --paper: #fff; --note: #8a5300 }
@media (prefers-color-scheme: dark) { :root { --line: #444; --ink: #ddd; --paper: #161616; --note: #e8b04b } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .8rem; text-align: left; vertical-align: top }
td { white-space: nowrap }
td:first-child { font-weight: 600 }
img { max-width: 100%; margin: .5rem 0; background: #fff; border-radius: 4px }
code { overflow-wrap: anywhere }
summary { cursor: pointer }
.warning { color: var(--note); font-weight: 600 }
"""


def markdown(title: str, runs: Sequence[Run], comparisons: Sequence[Comparison]) -> str:
    """Return the tables, headed and explained."""
    parts = [f"# {markdown_text(title)}", _about(runs)]
    for heading, table in _tables(runs, comparisons).items():
        parts += [f"## {heading}", markdown_table(table)]
    return "\n\n".join(parts) + "\n"


def page(
    title: str,
    runs: Sequence[Run],
    comparisons: Sequence[Comparison],
    dataset_dir: str | None = None,
    planes: str = "anatomical",
    convention: str = "radiological",
    command: str = "",
) -> str:
    """Return tables, figures of every case, training curves and, with a dataset folder and masks, pictures.

    Args:
        title: heading.
        runs: scored on the same cases.
        comparisons: of two of them each.
        dataset_dir: folder of the volumes, for pictures.
        planes: name of a set of `dckd_ext.report.pictures.PLANES`.
        convention: of the pictures, one of `dckd_ext.report.pictures.CONVENTIONS`.
        command: that made the page, to be shown.

    Raises:
        FileNotFoundError: when cases are to be pictured and there are no masks of them.
        ValueError: when there are no such planes, or no such convention.
    """
    made = f"Made on {time.strftime('%Y-%m-%d')}" + (f" by <code>{escape(command)}</code>" if command else "")
    parts = [f"<h1>{escape(title)}</h1><p class=warning>{_RESEARCH}</p><p>{escape(_about(runs))} {made}.</p>"]
    for heading, table in _tables(runs, comparisons).items():
        parts += [f"<h2>{heading}</h2>", _html_table(table)]
    parts += _figures(runs, comparisons, dataset_dir, planes, convention)
    cases = f"<details><summary>{len(runs[0].cases)} cases, the lowest Dice first</summary>"
    parts += ["<h2>Every case</h2>", cases, _html_table(case_table(runs)), "</details>"]
    head = '<meta charset="utf-8"><meta name=viewport content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _about(runs: Sequence[Run]) -> str:
    return (
        f"Mean over {len(runs[0].cases)} cases; in brackets the 95 % bootstrap interval over cases. "
        "HD95 is the 95th percentile of the surface distance, in mm: lower is better."
    )


def _tables(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> dict[str, Table]:
    tables = {"Scores": score_table(runs)}
    if any(run.lesions for run in runs):
        tables["Lesions"] = lesion_table(runs)
    if comparisons:
        tables["Differences on the same cases"] = difference_table(comparisons)
    if any(f"ml_{run.classes[0]}" in run.scores for run in runs):
        tables["Volumes"] = volume_table(runs)
    tables["Cost"] = cost_table(runs)
    if any("sha256" in run.record for run in runs):
        tables["Where the weights come from"] = source_table(runs)
    return tables


def markdown_table(table: Table) -> str:
    """Write a table, its first row the head, in Markdown; cells are texts, see `markdown_text`."""
    head, *rows = [[markdown_text(cell) for cell in line] for line in table]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Write a text so that Markdown shows it as it is, on one line.

    Examples:
        >>> markdown_text("plain <i>")
        'plain &lt;i&gt;'
    """
    line = escape(" ".join(text.split()), quote=False)
    return _MARKS.sub(r"\\\g<0>", line)


def _html_table(table: Table) -> str:
    head, *rows = ([escape(cell) for cell in line] for line in table)
    first = f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"
    return f"<table>{first}{''.join(f'<tr>{_cells(row)}</tr>' for row in rows)}</table>"


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{cell.replace(' [', '<br>[')}</td>" for cell in row)


def _figures(
    runs: Sequence[Run],
    comparisons: Sequence[Comparison],
    dataset_dir: str | None,
    planes: str,
    convention: str,
) -> list[str]:
    # here, since matplotlib comes with the extra "report" and the tables do without
    from dckd_ext.metrics.froc import draw_froc
    from dckd_ext.report.curves import draw_curves
    from dckd_ext.report.figures import draw_agreement, draw_comparisons, draw_distribution
    from dckd_ext.report.pictures import CONVENTIONS, PLANES, draw_case, pick_cases

    parts = [
        "<h2>Dice of every case</h2>",
        _image(draw_distribution(runs), "Dice of every case, a column a run"),
    ]
    if pairs := draw_comparisons(comparisons):
        parts += ["<h2>Case by case</h2>", _image(pairs, "Dice of one run against another's")]
    if agreement := draw_agreement(runs):
        about = "Solid: mean difference; dashed: limits of agreement, 1.96 standard deviations on both sides."
        parts += ["<h2>Agreement of volumes</h2>", f"<p>{about}</p>", _image(agreement, "Bland-Altman plots")]
    if froc := draw_froc({run.name: run.froc_file for run in runs if run.froc_file.is_file()}):
        parts += ["<h2>Lesions found against false positives (FROC)</h2>", _image(froc, "FROC curves")]
    if curves := draw_curves(runs):
        parts += ["<h2>Training</h2>", _image(curves, "training curves")]
    if dataset_dir:
        if planes not in PLANES:
            raise ValueError(f"planes: expected one of {list(PLANES)}, found {planes!r}")
        if convention not in CONVENTIONS:
            raise ValueError(f"convention: expected one of {list(CONVENTIONS)}, found {convention!r}")
        picked = pick_cases(runs)
        pictured = [run for run in runs if all(run.mask(case).is_file() for case in picked)]
        if not pictured:
            raise FileNotFoundError(
                f"no run has masks of {list(picked)} to picture, as {runs[0].mask(next(iter(picked)))}: "
                "evaluate with --save_masks true, or leave dataset_dir out"
            )
        parts.append("<h2>Cases</h2>")
        cases = all_cases(dataset_dir)
        parts += [
            _image(draw_case(cases[case], what, pictured, PLANES[planes], convention), case)
            for case, what in picked.items()
        ]
    return parts


def _image(figure: Figure, description: str) -> str:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'
