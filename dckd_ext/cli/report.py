"""`dckd report NAME=RUN ...`: runs side by side, as a table and as one HTML file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dckd_ext.cli.values import Texts
from dckd_ext.utils.files import written_whole

if TYPE_CHECKING:
    from dckd_ext.report import Comparison, Run

__all__ = ["report"]


def report(
    *runs: str,
    out: str = "report.html",
    compare: Texts = (),
    dataset_dir: str | None = None,
    planes: str = "anatomical",
    convention: str = "radiological",
    title: str = "Segmentation report",
) -> None:
    """Compare evaluated runs, and write OUT (self-contained HTML) and the same tables as Markdown beside it.

    Args:
        runs: NAME=RUN or NAME=RUN,BUNDLE. RUN is a folder with the scores_*.csv of evaluate.yaml, or that
            file. The folder's training.json, TensorBoard events and masks named CASE_seg.nii.gz are shown
            as well. With BUNDLE, parameters and multiply-adds are counted,
            which runs the code of the bundle: use one that you trust (docs/security.md).
        out: the HTML file.
        compare: paired differences to show, as A-B of two names, several with commas between.
        dataset_dir: folder of the volumes; with it and with masks in the runs, cases are pictured.
        planes: of the pictures: "anatomical", or "abus" for axes stored as lateral, depth, sweep.
        convention: of the pictures: "radiological", the patient's left at the right, or "neurological".
        title: heading of the page.

    Raises:
        ValueError: when a file lacks something, or the runs were not scored on the same cases.
    """
    from dckd_ext.report import check_same_cases, markdown, page, read_run

    if not runs:
        raise ValueError("no runs given, expected NAME=RUN or NAME=RUN,BUNDLE for each")
    read = [read_run(text) for text in runs]
    check_same_cases(read)
    comparisons = [_comparison(text, read) for text in compare]
    command = shlex.join(["dckd", *sys.argv[1:]])
    html = page(title, read, comparisons, dataset_dir, planes, convention, command)
    tables = markdown(title, read, comparisons)
    for ending, content in ((".md", tables), (".html", html)):
        with written_whole(Path(out).with_suffix(ending)) as beside:
            beside.write_text(content, encoding="utf-8")
    print(tables)
    print(f"report: {Path(out).with_suffix('.html').resolve()}")


def _comparison(text: str, runs: Sequence[Run]) -> Comparison:
    from dckd_ext.report import Comparison

    pairs = {f"{one.name}-{other.name}": Comparison(one, other) for one in runs for other in runs}
    if text not in pairs:
        raise ValueError(f"cannot compare {text!r}: expected A-B of the names {[run.name for run in runs]}")
    return pairs[text]
