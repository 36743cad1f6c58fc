"""What the benchmark's times say: ratios, linearity, tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

PARTS = ("network", "total")


def summarise(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many times faster than the teacher the students are, and whether seconds grow as voxels do."""
    by_run = {(result["network"], result["size"]): result["seconds"] for result in results}
    speedups = [
        {
            "student": network,
            "size": size,
            **{part: by_run["teacher", size][part] / seconds[part] for part in PARTS},
        }
        for (network, size), seconds in by_run.items()
        if network != "teacher" and ("teacher", size) in by_run
    ]
    linear = [
        {"network": network, "part": part, **_line([r for r in results if r["network"] == network], part)}
        for network in dict.fromkeys(result["network"] for result in results)
        for part in PARTS
        if len({result["size"] for result in results}) > 2
    ]
    return {"speedups": speedups, "linear": linear}


def _line(results: Sequence[dict[str, Any]], part: str) -> dict[str, float]:
    """The straight line through the seconds over voxels, and the highest by the lowest seconds a voxel."""
    voxels = [result["voxels"] for result in results]
    seconds = [result["seconds"][part] for result in results]
    each = [second / count for second, count in zip(seconds, voxels, strict=True)]
    slope, intercept = statistics.linear_regression(voxels, seconds)
    return {
        "seconds_per_million_voxels": slope * 1e6,
        "seconds_at_zero": intercept,
        "r2": statistics.correlation(voxels, seconds) ** 2,
        "per_voxel_ratio": max(each) / min(each),
    }


def as_markdown(summary: dict[str, Any]) -> str:
    """The summary as tables."""
    settings = ", ".join(f"{key} {value}" for key, value in summary["settings"].items())
    steps = list(summary["results"][0]["seconds"])
    parts = [
        f"Seconds of each step; memory above that after the imports, and its budget ({settings}).",
        _table(
            ["size", "network", "windows x s", *steps, "peak GB", "load"],
            (
                [
                    f"{r['size']:g}",
                    r["network"],
                    f"{r['windows']} x {r['window_seconds']:.2f}",
                    *(f"{r['seconds'][step]:.1f}" for step in steps),
                    f"{r['peak_gb']:.2f} of {r['budget_gb']:.2f}",
                    f"{r['load']:.1f}",
                ]
                for r in summary["results"]
            ),
        ),
    ]
    if summary["speedups"]:
        rows = (
            [f"{s['size']:g}", s["student"], *(f"{s[part]:.2f}" for part in PARTS)]
            for s in summary["speedups"]
        )
        parts += ["Times faster than the teacher.", _table(["size", "student", *PARTS], rows)]
    if summary["linear"]:
        columns = ["seconds_per_million_voxels", "seconds_at_zero", "r2", "per_voxel_ratio"]
        rows = (
            [line["network"], line["part"], *(f"{line[column]:.3f}" for column in columns)]
            for line in summary["linear"]
        )
        parts += ["Seconds over voxels.", _table(["network", "part", *columns], rows)]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
