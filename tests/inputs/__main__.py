"""`python -m tests.inputs`: how many inputs of the table are right, warned of and refused on each path."""

from tests.inputs.table import INPUTS, PATHS

__all__ = ["counts"]


def counts() -> str:
    """The table of docs/data.md. tests/inputs/test_inputs.py holds that it is true."""
    lines = ["| Path | tried | right | right, with a warning | refused, with the reason | silently wrong |"]
    lines += ["|---|---|---|---|---|---|"]
    for path in PATHS:
        kinds = [one.outcome(path)[0] for one in INPUTS]
        numbers = (len(kinds), *(kinds.count(kind) for kind in ("right", "warned", "refused")), 0)
        lines.append(f"| {path} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(counts())
