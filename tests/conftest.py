"""Small volumes in the layout of the Medical Segmentation Decathlon, and the shipped bundles run on them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nibabel as nib
import numpy as np
import pytest

from dckd_ext.utils.errors import root_cause

signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests may ignore it, as nohup does

BUNDLES = Path(__file__).parent.parent / "bundles"
# A patch that the U-Nets take (more than one voxel at the bottleneck) and that trains in well under a second.
SMALL = {"patch_size": [32, 16, 16], "device": "cpu", "epochs": 2, "val_interval": 1}


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def ellipsoids(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image with two bright bodies, and their classes 1 and 2."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, edge) for edge in shape], indexing="ij"))
    label = np.zeros(shape, np.uint8)
    for number, side in ((1, -0.4), (2, 0.4)):
        centre = np.array([side, 0, 0]) + rng.uniform(-0.1, 0.1, 3)
        label[
            np.sum(((grid - centre[:, None, None, None]) / [[[[0.35]]], [[[0.6]]], [[[0.6]]]]) ** 2, 0) < 1
        ] = number
    image = label * 40.0 + rng.normal(100, 8, shape)
    return image.astype(np.float32), label


def make_msd(folder: Path, cases: int = 6, shape: tuple[int, int, int] = (34, 22, 19)) -> Path:
    entries = []
    for number in range(cases):
        image, label = ellipsoids((shape[0] - number % 3, shape[1], shape[2] + number % 2), number)
        name = f"hippocampus_{number:03d}.nii.gz"
        write_volume(folder / "imagesTr" / name, image)
        write_volume(folder / "labelsTr" / name, label)
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    (folder / "dataset.json").write_text(json.dumps({"name": "Toy", "training": entries}))
    names = [f"hippocampus_{number:03d}" for number in range(cases)]
    folds = [names[fold::5] for fold in range(5)]
    (folder / "splits.json").write_text(json.dumps({"folds": folds, "test": []}))
    return folder


@pytest.fixture(scope="session")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small cases with two classes; their splits.json has five folds."""
    return make_msd(tmp_path_factory.mktemp("data") / "Task04_Hippocampus")


def bundle(kind: str, family: str = "hippocampus") -> Path:
    return BUNDLES / f"{family}_{kind}"


def workflow(
    kind: str, configs: list[str] | str, workflow_type: str, family: str = "hippocampus", **override: Any
) -> Any:
    """Create and initialise the workflow of a shipped bundle, as `python -m monai.bundle run` does."""
    from monai.bundle import create_workflow

    folder = bundle(kind, family)
    files = [str(folder / "configs" / name) for name in ([configs] if isinstance(configs, str) else configs)]
    return create_workflow(
        config_file=files, workflow_type=workflow_type, bundle_root=str(folder), **override
    )


def train(kind: str, out: Path, data: Path, overlay: str | None = None, **override: Any) -> Any:
    """Train a shipped bundle shortly; weights, logs and checkpoints go to ``out``.

    An overlay is another file of the bundle over its train.yaml, such as dckd.yaml.
    """
    settings = {
        **SMALL,
        "dataset_dir": str(data),
        "split_file": str(data / "splits.json"),
        "output_dir": str(out),
        "checkpoint": str(out / "model.pt"),
        **override,
    }
    flow = workflow(kind, ["train.yaml", overlay] if overlay else "train.yaml", "train", **settings)
    flow.run()
    flow.finalize()
    return flow


@pytest.fixture(scope="session")
def teacher_weights(tmp_path_factory: pytest.TempPathFactory, msd: Path) -> Path:
    """Weights of the shipped teacher after a short training on the small cases."""
    out = tmp_path_factory.mktemp("teacher")
    train("teacher_segmentation", out, msd)
    return out / "model.pt"


@pytest.fixture
def raises_from_config() -> Callable[..., Any]:
    """Run something and return the first error of the chain: MONAI wraps what happens inside a config."""

    def first_error(action: Callable[[], Any]) -> BaseException:
        with pytest.raises(Exception) as caught:  # noqa: PT011 the caller checks type and text
            action()
        return root_cause(caught.value)

    return first_error
