"""A report as Markdown and as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from dckd_ext.data.folders import all_cases
from dckd_ext.report.runs import Run
from dckd_ext.report.tables import Comparison, Table, cost_table, difference_table, lesion_table, score_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["markdown", "markdown_table", "markdown_text", "page"]

# what is no text to Markdown anywhere in a line; brackets where they make a link, _ where it is in no word
_MARKS = re.compile(r"[\\`*|~#]|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])")

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #222;
       margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid #ccc; padding: .35rem .8rem; text-align: left; vertical-align: top }
td { white-space: nowrap }
td:first-child { font-weight: 600 }
img { max-width: 100%; margin: .5rem 0 }
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
) -> str:
    """Return the tables, the training curves and, with a dataset folder and masks, pictures of cases.

    Raises:
        FileNotFoundError: when cases are to be pictured and there are no masks of them.
        ValueError: when there are no such planes.
    """
    parts = [f"<h1>{escape(title)}</h1><p>{escape(_about(runs))}</p>"]
    for heading, table in _tables(runs, comparisons).items():
        parts += [f"<h2>{heading}</h2>", _html_table(table)]
    parts += _figures(runs, dataset_dir, planes)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
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
    return {**tables, "Cost": cost_table(runs)}


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


def _figures(runs: Sequence[Run], dataset_dir: str | None, planes: str) -> list[str]:
    # here, since matplotlib comes with the extra "report" and the tables do without
    from dckd_ext.metrics.froc import draw_froc
    from dckd_ext.report.curves import draw_curves
    from dckd_ext.report.pictures import PLANES, draw_case, pick_cases

    parts = []
    if froc := draw_froc({run.name: run.froc_file for run in runs if run.froc_file.is_file()}):
        parts += ["<h2>Lesions found against false positives (FROC)</h2>", _image(froc, "FROC curves")]
    if curves := draw_curves(runs):
        parts += ["<h2>Training</h2>", _image(curves, "training curves")]
    if dataset_dir:
        if planes not in PLANES:
            raise ValueError(f"planes: expected one of {list(PLANES)}, found {planes!r}")
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
            _image(draw_case(cases[case], what, pictured, PLANES[planes]), case)
            for case, what in picked.items()
        ]
    return parts


def _image(figure: Figure, description: str) -> str:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'
