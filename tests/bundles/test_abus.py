"""The ABUS bundles train, distil, evaluate and infer on both layouts, and refuse what they must."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import torch

from dckd_ext.bundle import student_network
from dckd_ext.phantom import write_phantoms
from tests.conftest import SMALL, bundle, workflow

SPACING = (0.4, 0.3, 0.5)
SHAPE = (72, 96, 56)


@pytest.fixture(scope="session")
def tdsc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small synthetic volumes in the layout of the open ABUS set."""
    out = tmp_path_factory.mktemp("tdsc") / "abus"
    write_phantoms(out, 6, "tdsc", seed=0, shape=SHAPE, spacing=SPACING)
    return out


@pytest.fixture(scope="session")
def abus_msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small synthetic volumes in the layout of the Medical Segmentation Decathlon."""
    out = tmp_path_factory.mktemp("msd") / "abus"
    write_phantoms(out, 6, "msd", seed=0, shape=SHAPE, spacing=SPACING)
    return out


def abus_workflow(kind: str, configs, kind_of_run: str, data: Path, out: Path, **override):
    settings = {
        "dataset_dir": str(data),
        "output_dir": str(out),
        "nrrd_spacing": list(SPACING),
        "spacing": [0.8, 0.8, 0.8],
        "patch_size": SMALL["patch_size"],
        "device": "cpu",
        # the teacher of these tests is of their spacing, not of its bundle's
        **({"own_preprocessing": False} if (kind, configs) == ("distillation", "train.yaml") else {}),
        **override,
    }
    return workflow(kind, configs, kind_of_run, family="abus", **settings)


def train(kind: str, data: Path, out: Path, **override):
    flow = abus_workflow(
        kind,
        "train.yaml",
        "train",
        data,
        out,
        **{"checkpoint": str(out / "model.pt"), "epochs": 2, "val_interval": 2, **override},
    )
    flow.run()
    return flow


@pytest.fixture(scope="session")
def abus_teacher(tmp_path_factory: pytest.TempPathFactory, tdsc: Path) -> Path:
    out = tmp_path_factory.mktemp("abus_teacher")
    train("teacher_segmentation", tdsc, out, epochs=1, val_interval=1)
    return out / "model.pt"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unet_student_segmentation", "hrnet_student_segmentation"])
@pytest.mark.parametrize("layout", ["tdsc", "abus_msd"])
def test_train_distil_evaluate_infer(kind, layout, tmp_path: Path, abus_teacher: Path, request):
    data: Path = request.getfixturevalue(layout)
    train(
        "distillation",
        data,
        tmp_path,
        teacher_weights=str(abus_teacher),
        student_bundle=str(bundle(kind, "abus")),
        min_teacher_dice=0,
    )
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    student_network(bundle(kind, "abus")).load_state_dict(saved)  # strict

    split = "validation" if layout == "tdsc" else 0
    weights = {"checkpoint": str(tmp_path / "model.pt")}
    both = ["inference.yaml", "evaluate.yaml"]
    abus_workflow(
        kind, both, "inference", data, tmp_path / "eval", split=split, save_masks=True, **weights
    ).run()
    with open(tmp_path / "eval" / f"scores_{split}.csv") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((tmp_path / "eval" / f"summary_{split}.json").read_text())
    assert summary["cases"] == len(rows) >= 1
    assert (tmp_path / "eval" / f"froc_{split}.csv").is_file()

    images = data / "Validation" / "DATA" if layout == "tdsc" else data / "imagesTr"
    abus_workflow(kind, "inference.yaml", "inference", images, tmp_path / "masks", **weights).run()
    for row in rows:
        inferred, evaluated = (
            nib.load(tmp_path / folder / f"{row['case']}_seg.nii.gz") for folder in ("masks", "eval")
        )
        assert inferred.shape == SHAPE
        assert inferred.get_data_dtype() == np.uint8
        np.testing.assert_allclose(nib.affines.voxel_sizes(inferred.affine), SPACING, rtol=1e-5)
        np.testing.assert_array_equal(np.asarray(inferred.dataobj), np.asarray(evaluated.dataobj))


@pytest.mark.slow
def test_volumes_without_labels_teach(tmp_path: Path, tdsc: Path, abus_teacher: Path):
    """Cases of the open set have a kind of lesion, which volumes without a label have not."""
    archive = tmp_path / "archive"
    write_phantoms(archive, 2, "tdsc", seed=1, shape=SHAPE, spacing=SPACING)
    for masks in archive.glob("*/MASK"):
        shutil.rmtree(masks)
    flow = train(
        "distillation",
        tdsc,
        tmp_path / "out",
        teacher_weights=str(abus_teacher),
        student_bundle=str(bundle("unet_student_segmentation", "abus")),
        unlabelled_dir=str(archive),
        answers="live",
        min_teacher_dice=0,
        epochs=1,
        val_interval=1,
    )
    for batch in flow.parser.get_parsed_content("train#dataloader"):
        assert [bool((label == 255).all()) for label in batch["label"]] == [False, True]
    assert (tmp_path / "out" / "model.pt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["teacher_segmentation", "unet_student_segmentation", "hrnet_student_segmentation"]
)
def test_train_plainly_and_evaluate(kind: str, abus_msd: Path, tmp_path: Path):
    train(kind, abus_msd, tmp_path, epochs=1, val_interval=1)
    both, weights = ["inference.yaml", "evaluate.yaml"], str(tmp_path / "model.pt")
    abus_workflow(kind, both, "inference", abus_msd, tmp_path, split="all", checkpoint=weights).run()
    assert json.loads((tmp_path / "summary_all.json").read_text())["cases"] == 6


@pytest.mark.slow
def test_teacher_and_distillation_bundles_evaluate(tmp_path: Path, abus_teacher: Path, tdsc: Path):
    student = tmp_path / "student.pt"
    torch.save(student_network(bundle("unet_student_segmentation", "abus")).state_dict(), student)
    for kind, weights in (("teacher_segmentation", abus_teacher), ("distillation", student)):
        out = tmp_path / kind
        both = ["inference.yaml", "evaluate.yaml"]
        abus_workflow(kind, both, "inference", tdsc, out, split="test", checkpoint=str(weights)).run()
        names = ("scores_test.csv", "volumes_test.csv", "lesions_test.csv", "froc_test.csv", "froc_test.png")
        assert not [name for name in (*names, "summary_test.json") if not (out / name).is_file()]
        assert not list(out.glob("*_seg.nii.gz"))


@pytest.mark.parametrize("kind", ["teacher_segmentation", "distillation"])
@pytest.mark.parametrize("files", ["train.yaml", "inference.yaml", ["inference.yaml", "evaluate.yaml"]])
def test_check_properties(kind: str, files, tdsc: Path, tmp_path: Path, request):
    override = {}
    if kind == "distillation" and files == "train.yaml":
        override["teacher_weights"] = str(request.getfixturevalue("abus_teacher"))
    data = tdsc / "Train" / "DATA" if files == "inference.yaml" else tdsc
    which = "train" if files == "train.yaml" else "inference"
    assert abus_workflow(kind, files, which, data, tmp_path, **override).check_properties() == []


def test_a_training_set_without_a_lesion_is_refused(tmp_path: Path, raises_from_config):
    write_phantoms(tmp_path / "abus", 3, "msd", seed=0, shape=(32, 48, 24), spacing=SPACING, lesions=0)
    error = raises_from_config(
        lambda: train("unet_student_segmentation", tmp_path / "abus", tmp_path / "out")
    )
    assert isinstance(error, ValueError)
    assert "none of the 2 masks" in str(error)
    assert not (tmp_path / "out" / "model.pt").exists()


def test_no_weights_are_shipped_and_the_error_says_what_to_do(tdsc: Path, tmp_path: Path, raises_from_config):
    flow = abus_workflow(
        "unet_student_segmentation", "inference.yaml", "inference", tdsc / "Train" / "DATA", tmp_path / "out"
    )
    error = raises_from_config(flow.run)
    assert isinstance(error, FileNotFoundError)
    assert "train the bundle first" in str(error)


def test_bad_volumes_are_named_and_the_others_done(tmp_path: Path, abus_teacher: Path, tdsc: Path):
    """Exchanged axes, a truncated file, a colour volume, a series; uint16 and float are fine."""
    data = tmp_path / "in"
    data.mkdir()
    good, _ = nrrd.read(str(tdsc / "Train" / "DATA" / "DATA_000.nrrd"))
    nrrd.write(str(data / "good.nrrd"), good)
    nrrd.write(str(data / "good16.nrrd"), good.astype(np.uint16) * 200)
    nib.save(nib.Nifti1Image(good.astype(np.float64) / 7, np.diag([*SPACING, 1])), data / "good_float.nii.gz")
    nrrd.write(str(data / "colour.nrrd"), np.stack([good] * 3))
    nib.save(nib.Nifti1Image(np.stack([good] * 2, -1), np.eye(4)), data / "series.nii.gz")
    nrrd.write(str(data / "long.nrrd"), np.zeros((4, 500, 4), np.uint8))
    nrrd.write(str(data / "cut.nrrd"), good)
    (data / "cut.nrrd").write_bytes((data / "cut.nrrd").read_bytes()[:-3000])
    flow = abus_workflow(
        "teacher_segmentation",
        "inference.yaml",
        "inference",
        data,
        tmp_path / "out",
        checkpoint=str(abus_teacher),
    )
    with pytest.raises(RuntimeError) as caught:
        flow.run()
    text = str(caught.value.__cause__)
    assert "4 of 7 cases failed" in text
    for name in ("colour.nrrd", "series.nii.gz", "long.nrrd", "cut.nrrd"):
        assert f"  {name}: " in text
    names = ["good16_seg.nii.gz", "good_float_seg.nii.gz", "good_seg.nii.gz"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    masks = [nib.load(tmp_path / "out" / name).get_fdata() for name in names]
    np.testing.assert_array_equal(masks[0], masks[2])  # intensities are scaled per volume
    assert (masks[1] == masks[2]).mean() > 0.999  # but for rounding
