"""Training a student with the overrides that MONAI Label 0.8.5 makes; tests/label has the real server."""

import pytest
import torch
from monai.bundle import ConfigParser

from dckd_ext.networks import load_weights
from tests.conftest import SMALL, bundle, train, workflow

KINDS = ["unet_student_segmentation", "hrnet_student_segmentation"]


def fine_tune(kind, msd, out, run_id, cases=3, **override):
    """What its BundleTrainTask does: data lists without case_id, a handler put first loads the weights."""
    names = sorted(path.name for path in (msd / "imagesTr").iterdir())[:cases]
    data = [
        {key: str(msd / folder / name) for key, folder in [("image", "imagesTr"), ("label", "labelsTr")]}
        for name in names
    ]
    settings = {key: value for key, value in SMALL.items() if key != "epochs"}
    settings |= {"output_dir": str(out), "checkpoint": str(out / "model.pt"), "val_interval": 1, **override}
    shipped = ConfigParser()
    shipped.read_config(str(bundle(kind) / "configs" / "train.yaml"))
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": str(out / "model.pt"),
        "load_dict": {"model": "$@network"},
        "strict": False,
    }
    flow = workflow(
        kind,
        "train.yaml",
        "train",
        **settings,
        **{
            "train#trainer#max_epochs": 2,
            "train#dataset#data": data,
            "validate#dataset#data": data[:1] if cases > 1 else [],
            "train#handlers": [loader, *shipped["train#handlers"]],
        },
    )
    flow.run_id = run_id
    flow.run()
    return flow


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory, msd):
    """A bundle kind, and the folder of its weights."""
    out = tmp_path_factory.mktemp(request.param)
    train(request.param, out, msd, epochs=1)
    return request.param, out


@pytest.mark.slow
@pytest.mark.parametrize("run_id", ["run", "training", ""], ids=lambda run_id: run_id or "whole-config")
def test_trains_once_from_the_weights_served(trained, msd, tmp_path, run_id):
    """3D Slicer sends an empty run_id, for which MONAI evaluates the whole config."""
    kind, served = trained
    (tmp_path / "model.pt").write_bytes((served / "model.pt").read_bytes())
    flow = fine_tune(kind, msd, tmp_path, run_id, learning_rate=1e-9)
    get = flow.parser.get_parsed_content
    assert int(get("average").n_averaged) == 2 * len(get("train#dataloader")) > 0
    before, after = (torch.load(path / "model.pt", weights_only=True) for path in (served, tmp_path))
    assert list(before) == list(after)
    for name, tensor in before.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-3)
    load_weights(get("network_def"), tmp_path / "model.pt")


@pytest.mark.slow
def test_one_label_is_enough(trained, msd, tmp_path):
    kind, served = trained
    (tmp_path / "model.pt").write_bytes((served / "model.pt").read_bytes())
    fine_tune(kind, msd, tmp_path, "run", cases=1)
    assert (tmp_path / "model.pt").read_bytes() != (served / "model.pt").read_bytes()
    assert len(list((tmp_path / "previous").iterdir())) == 1
