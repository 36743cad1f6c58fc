import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import create_workflow

from dckd_ext.bundle import class_names, in_channels, student_network, teacher_network
from dckd_ext.distribution.metadata import metadata_problems
from dckd_ext.nnunet import write_bundle
from tests.nnunet.folders import network, prediction, results_folder, volume, weights


def test_the_network_is_nnunets(tmp_path: Path):
    teacher = teacher_network(results_folder(tmp_path))
    image = torch.randn(2, 1, 8, 12, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(teacher(image), network(image, weights(0)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("folds", [1, 2])
def test_inference_is_nnunets(folds: int, tmp_path: Path):
    images = tmp_path / "images"
    images.mkdir()
    file = volume(images / "case.nii.gz")
    bundle = tmp_path / "tiny_segmentation"
    write_bundle(results_folder(tmp_path, folds), bundle)
    segment(bundle, images, tmp_path / "masks")
    found = nib.load(tmp_path / "masks" / "case_seg.nii.gz")
    expected = prediction(file, [weights(fold) for fold in range(folds)])
    assert {0, 1, 2} == set(np.unique(expected))
    assert (np.asarray(found.dataobj) != expected).sum() <= 2  # of 4320 voxels: float32 and float64
    np.testing.assert_allclose(found.affine, nib.load(file).affine)


def segment(bundle: Path, images: Path, masks: Path) -> None:
    options = {
        "bundle_root": str(bundle),
        "dataset_dir": str(images),
        "output_dir": str(masks),
        "device": "cpu",
    }
    config = str(bundle / "configs" / "inference.yaml")
    create_workflow(config_file=config, workflow_type="infer", autocast="float32", **options).run()


def test_the_written_bundle_and_the_folder_say_the_same(tmp_path: Path):
    folder, bundle = results_folder(tmp_path), tmp_path / "tiny_segmentation"
    write_bundle(folder, bundle)
    assert class_names(folder) == class_names(bundle) == {0: "background", 1: "kidney", 2: "liver"}
    assert in_channels(folder) == in_channels(bundle) == 1
    assert not list(metadata_problems(bundle))
    image = torch.randn(1, 1, 8, 12, 12)
    torch.testing.assert_close(teacher_network(folder)(image), teacher_network(bundle)(image))


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected a new or an empty folder"):
        write_bundle(results_folder(tmp_path), tmp_path / "out")


def test_missing_folds_are_named(tmp_path: Path):
    folder = results_folder(tmp_path, folds=2)
    with pytest.raises(FileNotFoundError, match="no checkpoint of fold 4, only of 0, 1"):
        write_bundle(folder, tmp_path / "out", ["0", "4"])
    for file in folder.glob("fold_*/*.pth"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"expected fold_0/checkpoint_final\.pth"):
        write_bundle(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = results_folder(tmp_path)
    torch.save({"network_weights": weights(0), "logging": Evil()}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(
        ValueError, match=r"holds pickled objects.* If you trust the file, write what is needed"
    ):
        teacher_network(folder)
    assert "run" not in capsys.readouterr().out


def test_weights_of_another_network_are_named(tmp_path: Path):
    folder = results_folder(tmp_path)
    state = {key: value for key, value in weights(0).items() if "encoder.stages.2" not in key}
    torch.save({"network_weights": state}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(ValueError, match=r"are not those of PlainUNet: .* missing: bottleneck"):
        teacher_network(folder)
    torch.save({"state_dict": weights(0)}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(ValueError, match="expected a checkpoint of nnU-Net, with 'network_weights'"):
        teacher_network(folder)


def changed_network(folder: Path, **values: object) -> None:
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["architecture"] |= values
    (folder / "plans.json").write_text(json.dumps(plans))


def test_networks_of_other_packages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = results_folder(tmp_path)
    changed_network(folder, network_class_name="os.system")
    with pytest.raises(
        ValueError, match=r"the network is os\.system, expected one of dynamic_network_architectures"
    ):
        student_network(folder)
    name = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    changed_network(folder, network_class_name=name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"ResidualEncoderUNet needs the package .*: pip install '\.\[nnunet\]'"
    ):
        student_network(folder)
