"""What the ranking loss mines, in one picture.

Usage, from the root:

    python experiments/ranking_picture.py DATA OUT.png

Distils the small U-Net on 20 volumes for a short while, then takes two validation cases: one gives the anchor
(a student voxel), the other the teacher's references. Left: all references in the plane of their two main
directions. Middle: cosines of the anchor with them. Right: where they lie in the other case.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.bundle import ConfigWorkflow
from torch.nn import functional as F  # noqa: N812

from dckd_ext.losses.cells import Cells, common_grid, pool, voxels
from dckd_ext.study.split import write_small_split

WORKFLOW = Path(__file__).parents[1] / "bundles" / "hippocampus_distillation"
HARDEST = 16  # as many as the loss compares
COLOURS = {"other negatives": "0.75", "positives": "tab:blue", "near the boundary, left out": "gold"}


def main() -> None:
    """Train, embed, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=20, help="of ten steps")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workflow = train(args.data, Path(folder), args.epochs)
    found = mine(workflow)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(found).savefig(args.out, dpi=110)


def train(data: Path, folder: Path, epochs: int) -> ConfigWorkflow:
    """Distil with DCKD on 20 cases of folds 1 to 4."""
    split = folder / "split.json"
    write_small_split(WORKFLOW / "configs" / "splits.json", split, fold=0, cases=20, seed=0)
    workflow = ConfigWorkflow(
        config_file=[str(WORKFLOW / "configs" / name) for name in ("train.yaml", "dckd.yaml")],
        meta_file=str(WORKFLOW / "configs" / "metadata.json"),
        workflow_type="train",
        bundle_root=str(WORKFLOW),
        dataset_dir=str(data.resolve()),
        split_file=str(split),
        output_dir=str(folder),
        checkpoint=str(folder / "model.pt"),
        epochs=epochs,
        val_interval=epochs,
        run=["$@train#trainer.run()"],
    )
    workflow.initialize()
    workflow.run()
    return workflow


class Mined(NamedTuple):
    """An anchor and the references of another case, in the order of the other case's cells."""

    anchor: np.ndarray  # (C,)
    anchor_class: int
    references: np.ndarray  # (N, C)
    classes: np.ndarray  # (N,)
    interior: np.ndarray  # (N,)
    grid: tuple[int, int, int]
    image: np.ndarray  # (D, H, W) of the other case, on the grid
    class_names: dict[int, str]


@torch.no_grad()
def mine(workflow: ConfigWorkflow) -> Mined:
    """Embed two validation cases; the anchor is the voxel of class 1 that the student likes least."""
    get = workflow.parser.get_parsed_content
    size, sampler = get("patch_size"), get("loss").pairs
    network = get("average").module.eval()
    cases = [get("validate#dataset")[index] for index in (0, 7)]
    image, label = (torch.stack([middle(case[key], size) for case in cases]) for key in ("image", "label"))
    output = get("train#inferer")(image, network, case_ids=torch.tensor([0, 1]))
    grid = common_grid(label, sampler.grid_stride, output.features, output.teacher_features)
    student = F.normalize(voxels(sampler.projector(pool(output.features, grid))), dim=-1)
    teacher = F.normalize(voxels(pool(output.teacher_features, grid)), dim=-1)
    cells = Cells.of(label, output.logits, output.teacher_logits, grid)
    confidence = pool(output.logits.softmax(1), grid).flatten(2)[0, 1]
    is_anchor = (cells.share[0, 1] >= sampler.anchor_purity) & cells.interior[0]
    anchor = int(confidence.masked_fill(~is_anchor, torch.inf).argmin())
    pure = (cells.share[1] >= sampler.reference_purity) & cells.teacher_right[1]
    classes = torch.where(pure.any(0), pure.float().argmax(0), -1)
    return Mined(
        *(student[0, anchor].numpy(), 1, teacher[1].numpy(), classes.numpy(), cells.interior[1].numpy()),
        *(grid, pool(image[1:], grid)[0, 0].numpy(), get("class_names")),
    )


def middle(volume: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Cut the patch in the middle of a volume CDHW."""
    starts = [(have - want) // 2 for have, want in zip(volume.shape[1:], size, strict=True)]
    parts = tuple(slice(start, start + want) for start, want in zip(starts, size, strict=True))
    return volume[(slice(None), *parts)].float()


def draw(found: Mined) -> Figure:
    """Three panels."""
    cosine = found.references @ found.anchor
    drawn = found.classes >= 0
    positive = drawn & (found.classes == found.anchor_class)
    negative = drawn & (found.classes != found.anchor_class)
    usable = negative & found.interior
    hardest = np.argsort(np.where(usable, -cosine, np.inf))[:HARDEST]
    sets: dict[str, Any] = {
        "other negatives": usable,
        "near the boundary, left out": negative & ~found.interior,
        "positives": positive,
    }
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    plane, bars, place = figure.subplots(1, 3)
    draw_plane(plane, found, sets, hardest)
    draw_cosines(bars, cosine, sets, hardest)
    draw_place(place, found, cosine, sets, hardest)
    name = found.class_names[found.anchor_class]
    figure.suptitle(f"An anchor of class {name}, and the teacher's references in another case")
    return figure


def draw_plane(panel: Axes, found: Mined, sets: dict[str, np.ndarray], hardest: np.ndarray) -> None:
    """Draw references and anchor in the plane of the references' two main directions."""
    drawn = found.references[found.classes >= 0]
    centre = drawn.mean(0)
    axes = np.linalg.svd(drawn - centre, full_matrices=False)[2][:2].T
    points, anchor = (found.references - centre) @ axes, (found.anchor - centre) @ axes
    for name, chosen in sets.items():
        panel.scatter(*points[chosen].T, s=6, color=COLOURS[name], label=name)
    panel.scatter(*points[hardest].T, s=30, color="tab:red", label=f"{HARDEST} hardest negatives")
    panel.scatter(*anchor, s=120, marker="*", color="black", label="anchor (student)")
    panel.set(title="features, two main directions", xticks=[], yticks=[])
    panel.legend(fontsize=8)


def draw_cosines(panel: Axes, cosine: np.ndarray, sets: dict[str, np.ndarray], hardest: np.ndarray) -> None:
    """Histograms of the anchor's cosines."""
    bins = np.linspace(cosine.min(), cosine.max(), 40)
    for name, chosen in sets.items():
        panel.hist(cosine[chosen], bins, color=COLOURS[name], alpha=0.8, label=name, log=True)
    panel.hist(cosine[hardest], bins, color="tab:red", label=f"{HARDEST} hardest negatives")
    panel.set(title="cosine with the anchor", xlabel="cosine", ylabel="references")


def draw_place(
    panel: Axes, found: Mined, cosine: np.ndarray, sets: dict[str, np.ndarray], hardest: np.ndarray
) -> None:
    """Draw the other case's slice with most of the hardest negatives, and those within two cells of it."""
    where = np.stack(np.unravel_index(np.arange(len(cosine)), found.grid), axis=1)
    cut = int(np.bincount(where[hardest, 0]).argmax())
    panel.imshow(found.image[cut].T, cmap="gray", origin="lower")
    near = np.abs(where[:, 0] - cut) <= 2
    chosen = sets["positives"] & near & (where[:, 0] == cut)
    panel.scatter(where[chosen, 1], where[chosen, 2], s=14, color=COLOURS["positives"])
    chosen = hardest[near[hardest]]
    panel.scatter(where[chosen, 1], where[chosen, 2], s=40, color="tab:red")
    panel.set(title=f"the other case, slice {cut} of the grid", xticks=[], yticks=[])


if __name__ == "__main__":
    main()
