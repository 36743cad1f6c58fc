"""`export_bundle` writes everything, or nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dckd_ext.export import bundle as module
from dckd_ext.export import export_bundle, write_onnx
from dckd_ext.export.predict import KEY, load_model
from tests.conftest import bundle
from tests.export.conftest import weighted_copy


@pytest.mark.slow
def test_three_files_with_settings(exported: Callable[..., Path], tmp_path: Path):
    root = exported("unet_student")
    for name in module.FILES:
        assert (root / name).is_file()
    assert not [path.name for path in root.rglob(".*")]
    from dckd_ext.export import read_torchscript

    _, settings = load_model(root / "models" / "model.onnx")
    _, metadata = read_torchscript(root / "models" / "model.ts")
    assert metadata[KEY] == settings
    assert metadata["task"]  # the bundle's metadata, as MONAI's ckpt_export writes them
    assert settings["size_step"] == [1, 1, 1]


@pytest.mark.slow
def test_nothing_is_written_when_logits_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)

    def broken(network: torch.nn.Module, *rest: object) -> None:
        with torch.no_grad():
            network.final_conv.bias[0] += 0.01
            write_onnx(network, *rest)
            network.final_conv.bias[0] -= 0.01

    monkeypatch.setattr(module, "write_onnx", broken)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        ValueError, match=r"nothing is written: logits of model\.onnx at the size .* by 0\.01"
    ):
        export_bundle(root)
    assert sorted(tmp_path.rglob("*")) == before


def test_distillation_bundles_have_no_network():
    with pytest.raises(ValueError, match="export the student bundle"):
        export_bundle(bundle("distillation"))


def test_missing_weights(tmp_path: Path):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    (root / "models" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"No weights at .*model\.pt"):
        export_bundle(root)


def test_weights_that_are_not_finite(tmp_path: Path):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    state = torch.load(root / "models" / "model.pt", weights_only=True)
    torch.save({name: value * torch.nan for name, value in state.items()}, root / "models" / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt holds values that are NaN or infinite"):
        export_bundle(root)
    assert not list(root.glob("models/*.onnx"))


def test_weights_of_another_network(tmp_path: Path):
    root = weighted_copy("unet_student_segmentation", "hippocampus", tmp_path)
    torch.save({"weight": torch.zeros(1)}, root / "models" / "model.pt")
    with pytest.raises(ValueError, match="are not those of BasicUNet"):
        export_bundle(root)
    assert not list(root.glob("models/*.onnx"))
