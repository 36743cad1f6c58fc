"""Carry the digests of the committed results over to another rule, or to configs that say the same otherwise.

    git worktree add ../before COMMIT     # whose code and configs the digests in docs/results hold for
    python experiments/migrate_digests.py ../before

It proves first: the code of that commit computes the digests of every run from its own configs and weights.
If one is not that of ``runs.csv``, the script stops and nothing is written. Then this tree's digests go in
their place. A run whose teacher's weights are not there cannot be proved: it keeps its digest, and its
``teacher`` says "unproved". Who has the weights puts them where the study of ``../before`` names them.

No digest can tell whether both trees mean the same, so the script lists what their configs say differently:
read that before you commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dckd_ext.study import read_study
from dckd_ext.study.digests import UNPROVED, run_digests, settings
from dckd_ext.study.runner import COLUMNS, TABLE
from dckd_ext.utils import read_table, write_table

# folders of docs/results, with the studies whose runs their tables have
RESULTS = {
    "abus_study": ("abus",),
    "full_data": ("full_data",),
    "full_data_hrnet": ("full_data_hrnet",),
    "small_data": ("small_data", "ablations", "folds"),
    "small_data_short": ("small_data_short",),
    "tuning": ("tuning", "dckd_variants"),
}
PENDING = ("abus_archive", "archive", "held_out", "taps")  # studies whose results are not committed yet
STUDIES = Path("experiments/studies")
Digests = Mapping[str, str]

_OF_COMMIT = """
import json, sys
from pathlib import Path
from dckd_ext.study import read_study

study = read_study(sys.argv[1])
try:
    from dckd_ext.study.digests import run_digests
except ImportError:  # up to 3ebd2a7: one digest, of settings and weights together
    from dckd_ext.study.runner import _Runner

    def run_digests(study):
        runner, missing = _Runner(study, Path(), Path(), ()), {}
        named = study.teacher_weights
        runs = [spec for spec in study.runs() if spec.fold not in named or named[spec.fold].is_file()]
        return {spec.name: {} for spec in study.runs()} | {
            spec.name: {"config": runner.config_hash(spec)} for spec in runs
        }

print(json.dumps(run_digests(study)))
"""


def main() -> None:
    """Prove and rewrite all tables, or none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("before", type=Path, help="the worktree of the commit that the digests hold for")
    before = parser.parse_args().before.resolve()
    files = {name: STUDIES / f"{name}.yaml" for names in RESULTS.values() for name in names}
    print(*differences(before, files.values()), sep="\n")
    tables = {
        Path("docs/results") / folder / TABLE: [files[name] for name in names]
        for folder, names in RESULTS.items()
    }
    migrated = {table: migrate(before, table, studies) for table, studies in tables.items()}
    for table, rows in migrated.items():
        write_table(table, COLUMNS, rows)
        unproved = sum(row["teacher"] == UNPROVED for row in rows)
        print(f"{table}: {len(rows) - unproved} runs proved, {unproved} unproved")


def migrate(before: Path, table: Path, studies: Sequence[Path]) -> list[dict[str, str]]:
    """Return the rows of a table with this tree's digests.

    Args:
        before: the worktree of the commit that the digests hold for.
        table: of the results.
        studies: files whose runs the table has, relative to either tree.

    Raises:
        ValueError: for a run that no study names, or whose digests are not those that the commit computes.
    """
    proofs: dict[str, list[tuple[Digests, Digests]]] = {}
    for study in studies:
        old, new = digests_of_commit(before, study), run_digests(read_study(study))
        weights = run_digests(read_study(before / study))  # those of the teachers that the commit proves with
        for run in old.keys() & new.keys():
            proofs.setdefault(run, []).append((old[run], {**weights[run], "config": new[run]["config"]}))
    return [_carried_over(row, proofs.get(row["run"], []), table) for row in read_table(table)]


def _carried_over(
    row: dict[str, str], proofs: Sequence[tuple[Digests, Digests]], table: Path
) -> dict[str, str]:
    for old, new in proofs:
        if old and all(row.get(column) == digest for column, digest in old.items()):
            return {**row, **new}
    computed = [dict(old) for old, _ in proofs if old]
    if row.get("teacher") == UNPROVED or (proofs and not computed):
        return {**row, "teacher": UNPROVED}
    raise ValueError(
        f"{table}: {row['run']} has config {row['config']} and teacher {row.get('teacher')}, but that commit "
        f"computes {computed or 'none, since its studies have no such run'}"
    )


def digests_of_commit(before: Path, study: Path) -> dict[str, dict[str, str]]:
    """Let the commit's own code compute the digests of a study of its own, by run; empty where it cannot."""
    command = [sys.executable, "-c", _OF_COMMIT, str(before / study)]
    environment = {**os.environ, "PYTHONPATH": str(before)}
    done = subprocess.run(command, cwd=before, env=environment, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def differences(before: Path, studies: Iterable[Path]) -> list[str]:
    """List what the configs of either tree say and the other's do not, "- id: value" or "+ id: value"."""
    found = set()
    for study in studies:
        old, new = (read_study(tree / study) for tree in (before, Path()))
        for spec in {(spec.student, spec.arm): spec for spec in {*old.runs()} & {*new.runs()}}.values():
            one, other = (set(_lines(settings(study, spec))) for study in (old, new))
            found |= {(line, "-") for line in one - other} | {(line, "+") for line in other - one}
    return [f"{sign} {line}" for line, sign in sorted(found)]


def _lines(content: Any, at: str = "") -> Iterator[str]:
    if isinstance(content, (dict, list)):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _lines(value, f"{at}#{key}" if at else str(key))
    else:
        yield f"{at}: {content!r}"


if __name__ == "__main__":
    main()
