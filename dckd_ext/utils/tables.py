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


def read_table(path: Path, required: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read the rows of a table by column; there are none where there is no file.

    Args:
        path: the CSV file.
        required: columns that it has to have.

    Raises:
        ValueError: when it cannot be read, lacks a column, or a row has more or fewer cells than the header;
            names the file.
    """
    if not path.is_file():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file, strict=True)
            columns, rows = list(table.fieldnames or ()), list(table)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a CSV table: {error}") from error
    if missing := [name for name in required if name not in columns]:
        raise ValueError(f"{path}: lacks the columns {missing}, it has {columns}")
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise ValueError(f"{path}: row {number} has not the {len(columns)} cells that the header has")
    return rows
