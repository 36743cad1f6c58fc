import re
from pathlib import Path

import pytest

from dckd_ext.utils.tables import read_table, write_table

ROOT = Path(__file__).parents[2]


def test_bytes(tmp_path: Path):
    file = tmp_path / "new" / "scores.csv"
    rows = [{"case": "Fälle, rechts", "dice": 0.5, "other": "left out"}, {"case": 'a "b"'}]
    write_table(file, ("case", "dice"), rows)
    assert file.read_bytes() == 'case,dice\n"Fälle, rechts",0.5\n"a ""b""",\n'.encode()


def test_read_back(tmp_path: Path):
    rows = [{"case": "two\nlines", "dice": "0.5"}, {"case": "ä", "dice": ""}]
    write_table(tmp_path / "scores.csv", ("case", "dice"), rows)
    assert read_table(tmp_path / "scores.csv") == rows


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "lacks the columns ['case', 'dice'], it has []"),
        (b"case,score\na,1\n", "lacks the columns ['dice'], it has ['case', 'score']"),
        (b"case,dice\na,1\nb\n", "row 2 has not the 2 cells that the header has"),
        (b"case,dice\na,1,2\n", "row 1 has not the 2 cells that the header has"),
        (b"case,dice\n\xff,1\n", "cannot be read as a CSV table: 'utf-8' codec"),
        (b'case,dice\na,"1"2\n', "cannot be read as a CSV table: ',' expected after '\"'"),
        (b'case,dice\na,"1\n', "cannot be read as a CSV table: unexpected end of data"),
    ],
)
def test_what_is_no_table(content: bytes, expected: str, tmp_path: Path):
    file = tmp_path / "scores.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{file}: {expected}")):
        read_table(file, ["case", "dice"])


def test_no_file_is_no_rows(tmp_path: Path):
    assert read_table(tmp_path / "scores.csv") == []


def test_keeps_the_old_table_when_a_row_fails(tmp_path: Path):
    file = tmp_path / "scores.csv"
    write_table(file, ["case"], [{"case": "old"}])

    def rows():
        yield {"case": "new"}
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_table(file, ["case"], rows())
    assert file.read_text() == "case\nold\n"
    assert list(tmp_path.iterdir()) == [file]


def test_committed_tables_have_plain_line_ends():
    tables = list(ROOT.glob("docs/**/*.csv"))
    assert len(tables) > 200
    assert [str(file) for file in tables if b"\r" in file.read_bytes()] == []
