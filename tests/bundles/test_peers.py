"""Every published loss in the shipped distillation, in place of the shipped term on features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.bundles.trained import assert_trained
from tests.conftest import train

CHANNELS = {
    "student_channels": "@loss_def#pairs#student_channels",
    "teacher_channels": "@loss_def#pairs#teacher_channels",
}
CLASSES = {"num_classes": "@out_channels"}
ON_LOGITS = ["logits", "teacher_logits"]
# the weights that the papers' code gives, where it is for features or logits of this kind
PEERS = {
    "attention": ({"_target_": "ATLoss"}, {"weight": 1000.0}),
    "cirkd": ({"_target_": "CIRKDLoss"}, {}),
    "cwd": ({"_target_": "CWDLoss", **CHANNELS}, {}),
    "cwd of logits": ({"_target_": "CWDLoss"}, {"inputs": ON_LOGITS}),
    "dist": ({"_target_": "DISTLoss"}, {}),
    "dkd": ({"_target_": "DKDLoss"}, {}),
    "fitnet": ({"_target_": "FitNetLoss", **CHANNELS}, {}),
    "ifvd": ({"_target_": "IFVDLoss", **CLASSES}, {}),
    "region affinity": ({"_target_": "RegionAffinityLoss", **CLASSES}, {"weight": 0.9}),
    "infonce": ({"_target_": "DecoupledContrastiveLoss", "mode": "infonce"}, {"weight": 0.1}),
    "c2am": ({"_target_": "DecoupledContrastiveLoss", "mode": "c2am"}, {"weight": 0.1}),
}


def term(loss: dict, settings: dict) -> dict:
    own = loss["_target_"] in ("CWDLoss", "DecoupledContrastiveLoss")
    home = "dckd_ext.losses" if own else "dckd_ext.losses.peers"
    loss = {**loss, "_target_": f"{home}.{loss['_target_']}"}
    return {"_target_": "dckd_ext.losses.Term", "ramp": [0.0, 0.5], "loss": loss, **settings}


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_trains_in_place_of_the_shipped_term(name: str, tmp_path: Path, msd: Path, teacher_weights: Path):
    override = {
        "loss_def#terms#peer": term(*PEERS[name]),
        "loss_def#terms#cwd#weight": 0,
        "teacher_weights": str(teacher_weights),
        "min_teacher_dice": 0,
        "epochs": 3,
    }
    flow = train("distillation", tmp_path, msd, **override)
    assert_trained(tmp_path / "model.pt", "unet_student_segmentation")
    loss = flow.parser.get_parsed_content("loss")
    assert list(loss.values) == ["segmentation", "logits", "peer", "total"]
    assert all(value.isfinite() for value in loss.values.values())
    assert loss.values["peer"] > 0

    resumed = torch.load(tmp_path / "resume.pt", weights_only=True)["parts"]
    projector = {key for key in resumed["loss"] if key.startswith("losses.peer.projector")}
    assert bool(projector) == (name in ("fitnet", "cwd"))
    assert len(projector & {key for key, _ in loss.named_parameters()}) == len(projector)
    trained = len(list(flow.parser.get_parsed_content("network").parameters())) + len(projector)
    if "pairs" in loss.terms["peer"].input_names:
        trained += len(list(loss.pairs.projector.parameters()))
    assert len(resumed["optimizer"]["state"]) == trained
