"""What the teacher itself would score under DCKD's terms, and what the students of a study scored.

Where a student is below its teacher, a term no longer asks it to mimic the teacher. The teacher's own
features take the place of the projected student's, on the patches that the study drew. Usage, after a study
with an arm `dckd`:

    python experiments/teacher_as_student.py runs/small_data docs/results/teacher_as_student.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import nn

from dckd_ext.inferers import DistillationOutput
from dckd_ext.losses import DecoupledContrastiveLoss, PairSampler, RankingLoss
from dckd_ext.losses.bank import ReferenceBank
from dckd_ext.report.curves import read_curves
from dckd_ext.study import PatchPool
from dckd_ext.utils.tables import write_table

TERMS = {"contrastive": DecoupledContrastiveLoss(), "ranking": RankingLoss()}
WINDOWS = ((101, 200), (401, 500), (901, 1000))


def main() -> None:
    """Write a line for each term, the mean over the study's seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("table", type=Path)
    args = parser.parse_args()
    runs = sorted((args.study / "work").glob("unet-dckd-fold0-seed*"))
    seeds = [_of_seed(args.study / "work", run) for run in runs]
    columns = ("teacher", *(f"student, steps {first} to {last}" for first, last in WINDOWS))
    rows = []
    for term in TERMS:
        means = (f"{mean(values):.3f}" for values in zip(*(seed[term] for seed in seeds), strict=True))
        rows.append({"term": term, **dict(zip(columns, means, strict=True))})
    write_table(args.table, ("term", *columns), rows)


def _of_seed(work: Path, run: Path) -> dict[str, list[float]]:
    """Read the teacher's value of each term, and the student's in each window of steps."""
    curves = read_curves(run)
    teacher = _teacher_values(work / run.name.replace("unet-dckd", "pool"))
    return {
        term: [teacher[term], *(_mean_between(*curves[term], *window) for window in WINDOWS)]
        for term in TERMS
    }


def _mean_between(steps: np.ndarray, values: np.ndarray, first: int, last: int) -> float:
    return float(values[(first <= steps) & (steps <= last)].mean())


def _teacher_values(pool: Path, fill: int = 100, batches: int = 50) -> dict[str, float]:
    """Return the mean over batches of two patches, once as many as `fill` are in the bank."""
    torch.manual_seed(0)
    patches = PatchPool(pool)
    channels = patches[0]["teacher_features"].shape[0]
    sampler = PairSampler(3, channels, channels, bank=ReferenceBank(3, channels))
    sampler.projector = nn.Identity()  # the teacher needs none
    values: dict[str, list[float]] = {term: [] for term in TERMS}
    random = np.random.default_rng(0)
    patches.set_random_state(0)
    for step in range(fill + batches):
        rows = [patches[int(index)] for index in random.choice(len(patches), 2, replace=False)]
        label, logits, features = (
            torch.stack([row[name] for row in rows]).float()
            for name in ("label", "teacher_logits", "teacher_features")
        )
        cases = torch.tensor([int(row["case_id"]) for row in rows])
        output = DistillationOutput(logits, logits, features, features, cases)
        pairs = sampler(output, label)
        if step >= fill:
            for term, loss in TERMS.items():
                values[term].append(loss(pairs).item())
    return {term: mean(found) for term, found in values.items()}


if __name__ == "__main__":
    main()
