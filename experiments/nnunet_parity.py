"""Compare bundles that `dckd import nnunet` writes with nnU-Net's own predictor, voxel by voxel.

Needs nnU-Net, so it runs in an environment that has it (docs/nnunet.md):

    python experiments/nnunet_parity.py RESULTS IMAGES [--folds 0,1]

RESULTS is a folder TRAINER__PLANS__CONFIGURATION, IMAGES one of CASE_0000.nii.gz files of one channel.
Prints for each case
how many voxels differ, of how many foreground voxels, and exits with 1 where more than --most in a
thousand do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import create_workflow
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dckd_ext.nnunet import write_bundle


def main() -> None:
    """Compare, print and end with a status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--folds", default="0")
    parser.add_argument("--most", type=float, default=1.0, help="voxels of a thousand of the foreground")
    options = parser.parse_args()
    folds = options.folds.split(",")
    with tempfile.TemporaryDirectory() as folder:
        ours = _bundle_masks(options.results, options.images, folds, Path(folder))
        theirs = _nnunet_masks(options.results, options.images, folds)
    worst = 0.0
    for name in sorted(theirs):
        differ, foreground = int((ours[name] != theirs[name]).sum()), int((theirs[name] > 0).sum())
        worst = max(worst, 1000 * differ / max(foreground, 1))
        dice = (
            2
            * ((ours[name] == theirs[name]) & (theirs[name] > 0)).sum()
            / max((ours[name] > 0).sum() + foreground, 1)
        )
        print(f"{name}: {differ} of {foreground} foreground voxels differ, Dice {dice:.5f}")
    sys.exit(worst > options.most)


def _bundle_masks(results: Path, images: Path, folds: list[str], folder: Path) -> dict[str, np.ndarray]:
    bundle, masks = folder / "bundle", folder / "masks"
    write_bundle(results, bundle, folds)
    config = str(bundle / "configs" / "inference.yaml")
    options = {
        "bundle_root": str(bundle),
        "dataset_dir": str(images),
        "output_dir": str(masks),
        "device": "cpu",
    }
    workflow = create_workflow(config_file=config, workflow_type="infer", autocast="float32", **options)
    workflow.run()
    return {file.name.removesuffix("_0000_seg.nii.gz"): _voxels(file) for file in masks.glob("*_seg.nii.gz")}


def _nnunet_masks(results: Path, images: Path, folds: list[str]) -> dict[str, np.ndarray]:
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    name = next(file.name for file in sorted(results.glob("fold_*/checkpoint_*.pth"), reverse=True))
    predictor.initialize_from_trained_model_folder(str(results), tuple(folds), name)
    masks = {}
    for file in sorted(images.glob("*_0000.nii.gz")):
        image, properties = SimpleITKIO().read_images([str(file)])
        mask = predictor.predict_single_npy_array(image, properties)
        masks[file.name.removesuffix("_0000.nii.gz")] = mask.transpose(2, 1, 0)
    return masks


def _voxels(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


if __name__ == "__main__":
    main()
