import json
import re
from pathlib import Path

import pytest

from dckd_ext.data.splits import read_split


def test_what_is_read(tmp_path: Path):
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"comment": "mine", "folds": [["a", "b"], []]}))
    assert read_split(file) == {"comment": "mine", "folds": [["a", "b"], []], "test": []}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected JSON, found"),
        ('{"folds": [["a"],', "expected JSON, found"),
        ("\x00", "expected JSON, found"),
        ('["a"]', "expected names with values, found list"),
        ('{"training": []}', "expected the form {...}, found the keys ['training']"),
        ('{"folds": {"0": ["a"]}}', "expected the form"),
        ('{"folds": ["ab", "c"]}', "expected a list of case names as fold 0, found 'ab'"),
        ('{"folds": [["a"], [1]]}', "expected a list of case names as fold 1, found [1]"),
        ('{"folds": [["a"]], "test": "b"}', "expected a list of case names as test, found 'b'"),
        (
            '{"folds": [["a", "b"], ["b"]]}',
            "b (fold 0 and fold 1) in more than one place, expected every case once",
        ),
        ('{"folds": [["a", "b"]], "test": ["a"]}', "a (fold 0 and test) in more than one place"),
        ('{"folds": [["a", "a"]]}', "a (fold 0 and fold 0) in more than one place"),
    ],
)
def test_what_is_refused(text: str, expected: str, tmp_path: Path):
    file = tmp_path / "splits.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(expected).replace(r"\{\.\.\.\}", ".*")) as caught:
        read_split(file)
    assert str(caught.value).startswith(f"{file}: ")
