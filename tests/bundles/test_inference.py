"""Inference and evaluation of the shipped bundles on volumes of any geometry."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from dckd_ext.bundle import student_network
from tests.conftest import bundle, ellipsoids, make_msd, workflow, write_volume
from tests.metrics.test_scores import scipy_hd95

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([0.9, 0.7, 1.3]), [10.0, -20.0, 5.0]
)
FLIPPED = np.diag([-1.2, -1.0, 1.0, 1.0])


@pytest.fixture(scope="session")
def student_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(student_network(bundle("unet_student_segmentation")).state_dict(), path)
    return path


def infer(data: Path, out: Path, weights: Path, kind: str = "unet_student_segmentation", **override):
    flow = workflow(
        kind,
        "inference.yaml",
        "inference",
        dataset_dir=str(data),
        output_dir=str(out),
        checkpoint=str(weights),
        patch_size=[32, 16, 16],
        device="cpu",
        **override,
    )
    flow.run()


def evaluate(data: Path, out: Path, weights: Path, split: int | str, **override) -> None:
    flow = workflow(
        "unet_student_segmentation",
        ["inference.yaml", "evaluate.yaml"],
        "inference",
        dataset_dir=str(data),
        split_file=str(data / "splits.json"),
        split=split,
        output_dir=str(out),
        checkpoint=str(weights),
        patch_size=[32, 16, 16],
        device="cpu",
        **override,
    )
    flow.run()


@pytest.mark.parametrize("affine", [np.eye(4), OBLIQUE, FLIPPED], ids=["identity", "oblique", "flipped"])
@pytest.mark.parametrize("shape", [(36, 21, 19), (11, 9, 40)])
def test_masks_lie_in_the_geometry_of_the_image(affine, shape, tmp_path: Path, student_weights: Path):
    image = write_volume(tmp_path / "in" / "case.nii.gz", ellipsoids(shape, 0)[0], affine)
    infer(tmp_path / "in", tmp_path / "out", student_weights)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["case_seg.nii.gz"]
    mask = nib.load(tmp_path / "out" / "case_seg.nii.gz")
    assert mask.shape == shape
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(mask.affine, nib.load(image).affine, atol=1e-4)
    assert set(np.unique(mask.dataobj)) <= {0, 1, 2}


def test_the_mask_is_the_networks_own(tmp_path: Path, student_weights: Path):
    """One window as large as the volume, at 1 mm in RAS: the mask is the plain argmax of the network."""
    from monai.transforms import Compose, NormalizeIntensity, ScaleIntensityRangePercentiles

    image = ellipsoids((32, 16, 16), 1)[0]
    write_volume(tmp_path / "in" / "a.nii", image)
    infer(tmp_path / "in", tmp_path / "out", student_weights)
    network = student_network(bundle("unet_student_segmentation")).eval()
    network.load_state_dict(torch.load(student_weights, weights_only=True))
    scale = Compose([ScaleIntensityRangePercentiles(0.5, 99.5, 0, 1, clip=True), NormalizeIntensity()])
    with torch.no_grad():
        expected = network(torch.as_tensor(scale(image[None]))[None]).argmax(1)[0].numpy()
    found = np.asarray(nib.load(tmp_path / "out" / "a_seg.nii.gz").dataobj)
    assert np.mean(found == expected) > 0.999


@pytest.mark.parametrize(("text", "files"), [("false", 0), ("true", 1), (False, 0), (True, 1)])
def test_flags_may_come_as_text(text, files, tmp_path: Path, student_weights: Path):
    """The command line hands `--save_masks false` on as text, which Python takes for true."""
    write_volume(tmp_path / "in" / "a.nii.gz", ellipsoids((33, 17, 16), 1)[0])
    infer(tmp_path / "in", tmp_path / "out", student_weights, save_masks=text)
    assert len(list((tmp_path / "out").glob("*"))) == files


def test_distillation_bundle_infers_with_the_student(tmp_path: Path, student_weights: Path):
    write_volume(tmp_path / "in" / "a.nii.gz", ellipsoids((33, 17, 16), 1)[0])
    infer(tmp_path / "in", tmp_path / "one", student_weights)
    infer(tmp_path / "in", tmp_path / "two", student_weights, kind="distillation")
    one, two = (np.asarray(nib.load(tmp_path / name / "a_seg.nii.gz").dataobj) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_missing_weights(tmp_path: Path, raises_from_config):
    write_volume(tmp_path / "in" / "a.nii.gz", ellipsoids((33, 17, 16), 1)[0])
    error = raises_from_config(lambda: infer(tmp_path / "in", tmp_path / "out", tmp_path / "gone.pt"))
    assert "gone.pt" in str(error)
    assert not (tmp_path / "out").exists()


def test_nan_image_is_named(tmp_path: Path, student_weights: Path, raises_from_config):
    image = ellipsoids((33, 17, 16), 1)[0]
    image[3, 3, 3] = np.nan
    path = write_volume(tmp_path / "in" / "a.nii.gz", image)
    error = raises_from_config(lambda: infer(tmp_path / "in", tmp_path / "out", student_weights))
    assert str(path) in str(error)
    assert "NaN" in str(error)


def test_evaluate_scores_what_inference_writes(tmp_path: Path, msd: Path, student_weights: Path):
    """The CSV against Dice computed by hand from the files that inference writes and the label files."""
    evaluate(msd, tmp_path, student_weights, split="all")
    infer(msd / "imagesTr", tmp_path / "masks", student_weights)
    rows = list(csv.DictReader((tmp_path / "scores_all.csv").open()))
    assert len(rows) == 6
    for row in rows:
        mask, label = (
            np.asarray(nib.load(path).dataobj)
            for path in (
                tmp_path / "masks" / f"{row['case']}_seg.nii.gz",
                msd / "labelsTr" / f"{row['case']}.nii.gz",
            )
        )
        for number, name in ((1, "anterior"), (2, "posterior")):
            p, t = mask == number, label == number
            assert float(row[f"dice_{name}"]) == pytest.approx(
                2 * (p & t).sum() / (p.sum() + t.sum()), abs=1e-4
            )


def test_cases_of_equal_file_names_keep_apart(tmp_path: Path, student_weights: Path):
    """Two sites that both call their images 0/image.nii.gz and 1/image.nii.gz: a row and a mask for each."""
    names, entries = ["oslo_0", "oslo_1", "rome_0", "rome_1"], []
    for number, name in enumerate(names):
        folder = name.replace("_", "/")
        image, label = ellipsoids((33 + number, 17, 16), number)
        write_volume(tmp_path / folder / "image.nii.gz", image)
        write_volume(tmp_path / folder / "label.nii.gz", label)
        entries.append({"image": f"{folder}/image.nii.gz", "label": f"{folder}/label.nii.gz"})
    (tmp_path / "dataset.json").write_text(json.dumps({"training": entries}))
    out = tmp_path / "out"
    evaluate(tmp_path, out, student_weights, split="all", save_masks=True)
    rows = {row["case"]: row for row in csv.DictReader((out / "scores_all.csv").open())}
    assert sorted(rows) == names
    for number, name in enumerate(names):
        mask = np.asarray(nib.load(out / f"{name}_seg.nii.gz").dataobj) == 1
        label = ellipsoids((33 + number, 17, 16), number)[1] == 1
        dice = 2 * (mask & label).sum() / (mask.sum() + label.sum())
        assert float(rows[name]["dice_anterior"]) == pytest.approx(dice, abs=1e-4)


def test_oblique_fine_case_is_scored_in_millimetres(tmp_path: Path, student_weights: Path):
    """An oblique label of 0.2 x 0.07 x 0.5 mm: the CSV against scipy on the files as they are."""
    turn = nib.eulerangles.euler2mat(0.4, 0.2, -0.3)
    affine = nib.affines.from_matvec(turn @ np.diag([0.2, 0.07, 0.5]), [3.0, 4.0, 5.0])
    data = make_msd(tmp_path / "data", cases=1)
    image, label = ellipsoids((90, 150, 40), 5)
    write_volume(data / "imagesTr" / "hippocampus_000.nii.gz", image, affine)
    write_volume(data / "labelsTr" / "hippocampus_000.nii.gz", label, affine)
    evaluate(data, tmp_path, student_weights, split=0)
    infer(data / "imagesTr", tmp_path / "masks", student_weights)
    mask = np.asarray(nib.load(tmp_path / "masks" / "hippocampus_000_seg.nii.gz").dataobj)
    (row,) = csv.DictReader((tmp_path / "scores_0.csv").open())
    for number, name in ((1, "anterior"), (2, "posterior")):
        assert (mask == number).any()
        expected = scipy_hd95(mask == number, label == number, (0.2, 0.07, 0.5))
        assert float(row[f"hd95_{name}"]) == pytest.approx(expected, rel=1e-3)


def test_bundle_runs_from_any_working_directory(tmp_path: Path, student_weights: Path):
    """As on the command line, with `run` alone."""
    write_volume(tmp_path / "in" / "a.nii.gz", ellipsoids((33, 17, 16), 1)[0])
    folder = bundle("unet_student_segmentation")
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "--config_file",
        f"{folder}/configs/inference.yaml",
    ]
    command += ["--bundle_root", str(folder), "--dataset_dir", str(tmp_path / "in"), "--device", "cpu"]
    command += ["--output_dir", str(tmp_path / "out"), "--checkpoint", str(student_weights)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "a_seg.nii.gz").is_file()
