import re
from pathlib import Path

import pytest

from dckd_ext.utils.documents import read_mapping


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", '{"ä": [1]}'), ("a.yaml", "ä: [1]"), ("a.yml", "ä:\n- 1")]
)
def test_both_formats(name: str, text: str, tmp_path: Path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_mapping(tmp_path / name) == {"ä": [1]}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", b"", "expected JSON, found Expecting value: line 1"),
        ("a.json", b'{"a": 1,\n}', "expected JSON, found .*line [12] column"),
        ("a.json", b'{"a": "\xff"}', "expected JSON, found 'utf-8' codec"),
        ("a.json", b"[" * 10**5, "expected JSON, found maximum recursion"),
        ("a.json", b"[1]", "expected names with values, found list"),
        ("a.yaml", b"", "expected names with values, found NoneType"),
        (
            "a.yaml",
            b"a: [1\nb: 2",
            "expected YAML, found while parsing a flow sequence .* line 1",
        ),
        ("a.yaml", b"a: 2024-13-45", "expected YAML, found month must be in 1..12"),
        (
            "a.yaml",
            b"a: !!python/object:os.system {}",
            "expected YAML, found could not determine a constructor",
        ),
    ],
)
def test_what_is_refused(name: str, content: bytes, expected: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path / name))}: {expected}") as caught:
        read_mapping(tmp_path / name)
    assert "\n" not in str(caught.value)
