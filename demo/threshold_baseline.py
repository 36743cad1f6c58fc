"""What grey levels alone give: the best threshold and its largest component, as a run for `dckd report`.

Usage: python demo/threshold_baseline.py DATASET_DIR OUT
"""

from __future__ import annotations

import sys
from itertools import product

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as components

from dckd_ext.data import case_list
from dckd_ext.handlers import CaseScores, LesionScores
from dckd_ext.metrics.scores import binary_dice

CLASSES = {0: "background", 1: "lesion"}
CHOOSE_ON = 8  # training volumes
THRESHOLDS = range(4, 100, 6)
DARKER, BRIGHTER = -1, 1


def smoothed(case: dict) -> np.ndarray:
    """Return the image without most of its speckle."""
    return gaussian_filter(np.asarray(nib.load(case["image"]).dataobj, np.float32), 1.5)


def segment(image: np.ndarray, threshold: float, side: int) -> np.ndarray:
    """Return the largest connected component of what is darker or brighter than a threshold."""
    numbers, count = components(side * image > side * threshold)
    if count == 0:
        return np.zeros(image.shape, np.uint8)
    return (numbers == np.bincount(numbers.ravel())[1:].argmax() + 1).astype(np.uint8)


def best_threshold(cases: list[dict]) -> tuple[float, int]:
    """Find the threshold and side with the highest mean Dice on these cases."""
    choices = list(product(THRESHOLDS, (DARKER, BRIGHTER)))
    dice = np.zeros(len(choices))
    for case in cases:
        image, label = smoothed(case), np.asarray(nib.load(case["label"]).dataobj) > 0
        dice += [binary_dice(segment(image, *choice) > 0, label) for choice in choices]
    return choices[int(dice.argmax())]


def main(dataset_dir: str, out: str) -> None:
    """Choose on training cases, score on fold 0."""
    split = f"{dataset_dir}/splits.json"
    threshold, side = best_threshold(case_list(dataset_dir, "training", split)[:CHOOSE_ON])
    print(f"threshold baseline: {'darker' if side == DARKER else 'brighter'} than {threshold}")

    def run(engine: Engine, batch: list[dict]) -> list[dict]:
        outputs = []
        for case in batch:
            file = nib.load(case["image"])
            mask = segment(smoothed(case), threshold, side)
            nib.save(nib.Nifti1Image(mask, file.affine), f"{out}/{case['case']}_seg.nii.gz")
            pred = MetaTensor(torch.from_numpy(mask)[None], affine=torch.from_numpy(file.affine))
            outputs.append({"pred": pred, "probability": pred * 255})
        return outputs

    engine = Engine(run)
    CaseScores(f"{out}/scores_0.csv", CLASSES).attach(engine)
    LesionScores(out, CLASSES, split=0).attach(engine)
    engine.run([[case] for case in case_list(dataset_dir, 0, split)])


if __name__ == "__main__":
    main(*sys.argv[1:])
