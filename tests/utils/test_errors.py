import pytest

from dckd_ext.utils.errors import first_line, root_cause


def test_root_cause_is_the_first_error_of_a_chain():
    first = ValueError("no such key")
    transform, config = RuntimeError("transform"), RuntimeError("config")
    transform.__cause__, config.__cause__ = first, transform
    assert root_cause(config) is first


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
