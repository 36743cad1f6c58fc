from pathlib import Path

import pytest

from dckd_ext.utils.documents import read_mapping
from dckd_ext.utils.errors import first_line, is_refusal, listed, root_cause


def test_root_cause_is_the_first_error_of_a_chain():
    first = ValueError("no such key")
    transform, config = RuntimeError("transform"), RuntimeError("config")
    transform.__cause__, config.__cause__ = first, transform
    assert root_cause(config) is first


def test_root_cause_is_our_own_refusal_in_a_chain(tmp_path: Path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match="expected JSON") as caught:
        read_mapping(tmp_path / "a.json")  # which has a cause itself
    outer = RuntimeError("config")
    outer.__cause__ = caught.value
    assert root_cause(outer) is caught.value
    assert not is_refusal(outer)


def test_what_our_code_calls_is_no_refusal():
    with pytest.raises(TypeError) as caught:
        listed(3)  # type: ignore[arg-type]
    assert not is_refusal(caught.value)


def test_an_error_without_a_cause_is_its_own():
    alone = OSError("disk full")
    assert root_cause(alone) is alone


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such key\nat line 3"), "ValueError: no such key"),
        (OSError("  "), "OSError: "),
        (KeyError("spacing"), "KeyError: 'spacing'"),
    ],
)
def test_first_line_of_the_cause(error: Exception, line: str):
    outer = RuntimeError("config")
    outer.__cause__ = error
    assert first_line(outer) == line
