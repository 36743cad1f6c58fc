"""Tables as CSV files: UTF-8, plain line ends, whole or absent."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dckd_ext.utils.files import written_whole

__all__ = ["read_table", "write_table"]


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    r"""Write these columns of the rows, under their names; what a row lacks is an empty cell.

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> write_table(file, ["case", "dice"], [{"case": "a", "dice": 0.9, "label": "a.nii"}, {"case": "b"}])
        >>> file.read_text()
        'case,dice\na,0.9\nb,\n'
        >>> read_table(file)
        [{'case': 'a', 'dice': '0.9'}, {'case': 'b', 'dice': ''}]
    """
    with written_whole(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of a table by column; there are none where there is no file."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
