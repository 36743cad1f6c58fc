"""The handlers on an ignite engine, with predictions made by hand."""

import csv
import json
import logging
import sys
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from scipy.ndimage import label as connected

from dckd_ext.bundle import student_network
from dckd_ext.handlers import CaseScores, LesionScores
from dckd_ext.metrics.lesion_summary import POLICY
from dckd_ext.transforms.reading import PLACE, STORED_ORDER
from tests.conftest import bundle, workflow, write_volume
from tests.metrics.test_scores import scipy_hd95

SPACING = (0.2, 0.1, 0.5)  # a voxel is 0.00001 ml
NAMES = {0: "background", 1: "lesion"}
SHAPE = (20, 30, 16)


def blocks(*boxes: tuple[int, int, int, int], value: int = 1) -> np.ndarray:
    """Cubes given by their corner and edge."""
    array = np.zeros(SHAPE, np.uint8)
    for x, y, z, edge in boxes:
        array[x : x + edge, y : y + edge, z : z + edge] = value
    return array


FIRST, SECOND, FAR = (2, 2, 2, 5), (12, 20, 9, 4), (2, 24, 2, 3)
TWO = blocks(FIRST, SECOND)
HALF_FOUND = np.maximum(np.roll(blocks(FIRST), 1, axis=1), blocks(FAR))
PROBABILITY = np.maximum.reduce(
    [HALF_FOUND * np.uint8(230), blocks(SECOND, value=60), blocks((9, 2, 12, 2), value=90)]
)


def case(folder: Path, name: str, label: np.ndarray, nrrd_file: bool = False) -> dict:
    path = folder / f"{name}.nrrd" if nrrd_file else folder / f"{name}.nii.gz"
    if nrrd_file:
        nrrd.write(str(path), label, {"space directions": np.eye(3), "space origin": [0, 0, 0]})
    else:
        write_volume(path, label, np.diag([*SPACING, 1]))
    return {"case": name, "label": str(path)}


def volume(array: np.ndarray) -> MetaTensor:
    return MetaTensor(
        torch.from_numpy(array.astype(np.float32))[None],
        affine=torch.diag(torch.tensor([*SPACING, 1.0])),
        meta={PLACE: STORED_ORDER},
    )


def output(prediction: np.ndarray, probability: np.ndarray | None = None) -> dict:
    result = {"pred": volume(prediction)}
    if probability is not None:
        result["probability"] = volume(probability)
    return result


def engine_of(*handlers) -> Engine:
    """An engine whose batches are lists of (case, output)."""

    def step(engine: Engine, batch: list) -> list:
        engine.state.batch = [one for one, _ in batch]
        return [result for _, result in batch]

    engine = Engine(step)
    for handler in handlers:
        handler.attach(engine)
    return engine


def run(engine: Engine, batches: list) -> None:
    """Start afresh, as MONAI's evaluators do on each run."""
    engine.state.max_epochs = None
    engine.run(batches)


def rows(path: Path) -> list[dict]:
    return list(csv.DictReader(path.open()))


def test_files_of_a_run(tmp_path: Path):
    label_free = blocks()
    engine = engine_of(LesionScores(str(tmp_path / "out"), NAMES, "test"))
    run(
        engine,
        [
            [(case(tmp_path, "two", TWO), output(HALF_FOUND, PROBABILITY))],
            [(case(tmp_path, "free", label_free), output(blocks(FAR), blocks(FAR, value=140)))],
        ],
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "candidates_test.csv",
        "froc_test.csv",
        "froc_test.png",
        "lesions_test.csv",
        "summary_test.json",
        "volumes_test.csv",
    ]
    two, free = rows(tmp_path / "out" / "volumes_test.csv")
    p, t = HALF_FOUND > 0, TWO > 0
    assert float(two["dice"]) == pytest.approx(2 * (p & t).sum() / (p.sum() + t.sum()), abs=1e-5)
    assert float(two["hd95"]) == pytest.approx(scipy_hd95(p, t, SPACING), abs=1e-5)
    assert float(two["recall"]) == pytest.approx(100 / 189, abs=1e-5)
    assert float(two["precision"]) == pytest.approx(100 / 152, abs=1e-5)
    counts = ("lesions", "found", "missed", "false_positives")
    assert [two[name] for name in counts] == ["2", "1", "1", "1"]
    assert [free[name] for name in counts] == ["0", "0", "0", "1"]
    assert (free["dice"], free["recall"]) == ("0.0", "")

    lesions = rows(tmp_path / "out" / "lesions_test.csv")
    assert [(row["case"], row["lesion"], row["voxels"], row["found"]) for row in lesions] == [
        ("two", "1", "125", "1"),
        ("two", "2", "64", "0"),
    ]
    assert [float(row["dice"]) for row in lesions] == [0.8, 0]
    assert [float(row["score"]) for row in lesions] == [round(230 / 256, 5), round(60 / 256, 5)]
    assert float(lesions[0]["ml"]) == 0.00125

    candidates = rows(tmp_path / "out" / "candidates_test.csv")
    assert [(row["case"], row["result"], row["lesions"]) for row in candidates] == [
        ("two", "found", "1"),
        ("two", "false positive", ""),
        ("two", "false positive", ""),
        ("two", "found", "2"),
        ("free", "false positive", ""),
    ]
    curve = rows(tmp_path / "out" / "froc_test.csv")
    points = [(row["false_positives_per_volume"], row["sensitivity"]) for row in curve]
    assert points == [("1.5", "1"), ("1.5", "0.5"), ("1", "0.5"), ("0.5", "0.5"), ("0", "0")]

    summary = json.loads((tmp_path / "out" / "summary_test.json").read_text())
    assert summary["cases"] == 2
    assert summary["cases_without_lesion"] == 1
    assert summary["lesions"]["detection_rate"] == 0.5
    assert summary["lesions"]["by_ml"]["<0.5"]["missed"] == 1
    assert summary["false_positives_per_volume"] == 1
    assert summary["froc"]["sensitivity_at"]["8"] == 1
    assert summary["policy"] == POLICY


def test_small_components_may_be_ignored(tmp_path: Path):
    """The false positive of 27 voxels has 0.00027 ml."""
    counts = {}
    for min_ml in (0.00027, 0.00028):
        engine = engine_of(LesionScores(str(tmp_path / f"{min_ml}"), NAMES, "a", min_ml=min_ml))
        run(engine, [[(case(tmp_path, "two", TWO), output(HALF_FOUND, HALF_FOUND * np.uint8(200)))]])
        summary = json.loads((tmp_path / f"{min_ml}" / "summary_a.json").read_text())
        counts[min_ml] = (summary["false_positives"], summary["froc"]["sensitivity_at"]["0.125"])
    assert counts == {0.00027: (1, pytest.approx(0.0625)), 0.00028: (0, 0.5)}


def test_nrrd_labels_are_scored_with_the_spacing_of_the_image(tmp_path: Path):
    """Both handlers, both formats: the same numbers."""
    handlers = [
        CaseScores(str(tmp_path / "scores_a.csv"), NAMES),
        LesionScores(str(tmp_path), NAMES, "a"),
    ]
    batch = [
        (case(tmp_path, "nifti", TWO), output(HALF_FOUND)),
        (case(tmp_path, "nrrd", TWO, nrrd_file=True), output(HALF_FOUND)),
    ]
    run(engine_of(*handlers), [batch])
    for name, column in (("scores", "hd95_lesion"), ("volumes", "hd95")):
        nifti, nrrd_row = rows(tmp_path / f"{name}_a.csv")
        assert {**nifti, "case": ""} == {**nrrd_row, "case": ""}
        assert float(nifti[column]) == pytest.approx(scipy_hd95(HALF_FOUND > 0, TWO > 0, SPACING), abs=1e-5)


def test_runs_of_one_case_each_add_up(tmp_path: Path):
    """A failing case costs only itself; one that is run again replaces its rows."""
    scores = CaseScores(str(tmp_path / "scores_a.csv"), NAMES)
    lesions = LesionScores(str(tmp_path), NAMES, "a")
    engine = engine_of(scores, lesions)
    good, bad = case(tmp_path, "good", TWO), {"case": "bad", "label": str(tmp_path / "gone.nii.gz")}
    run(engine, [[(good, output(HALF_FOUND))]])
    with pytest.raises(FileNotFoundError, match="gone"):
        run(engine, [[(bad, output(HALF_FOUND))]])
    assert [row["case"] for row in rows(tmp_path / "volumes_a.csv")] == ["good"]
    run(engine, [[(case(tmp_path, "other", TWO), output(TWO))]])
    run(engine, [[(good, output(TWO))]])
    for name, column in (("scores", "dice_lesion"), ("volumes", "dice")):
        found = rows(tmp_path / f"{name}_a.csv")
        assert [(row["case"], float(row[column])) for row in found] == [("good", 1), ("other", 1)]
    assert len(rows(tmp_path / "lesions_a.csv")) == 4
    assert json.loads((tmp_path / "summary_a.json").read_text())["cases"] == 2


def test_without_probabilities(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    engine = engine_of(LesionScores(str(tmp_path / "out"), NAMES, "a"))
    run(engine, [[(case(tmp_path, name, TWO), output(TWO))] for name in "ab"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "lesions_a.csv",
        "summary_a.json",
        "volumes_a.csv",
    ]
    assert json.loads((tmp_path / "out" / "summary_a.json").read_text())["froc"] is None
    assert rows(tmp_path / "out" / "lesions_a.csv")[0]["score"] == ""
    assert caplog.text.count("ForegroundProbabilityd") == 1


def test_without_lesions_there_is_no_curve(tmp_path: Path):
    engine = engine_of(LesionScores(str(tmp_path / "out"), NAMES, "a"))
    run(engine, [[(case(tmp_path, "free", blocks()), output(blocks(), blocks()))]])
    summary = json.loads((tmp_path / "out" / "summary_a.json").read_text())
    assert summary["froc"] is None
    assert summary["dice"]["mean"] == 1
    assert summary["recall"] == {"mean": None, "median": None, "cases": 0}
    assert not (tmp_path / "out" / "froc_a.csv").exists()
    assert rows(tmp_path / "out" / "lesions_a.csv") == []


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    engine = engine_of(LesionScores(str(tmp_path / "out"), NAMES, "a"))
    for name in "ab":
        run(engine, [[(case(tmp_path, name, TWO), output(TWO, PROBABILITY))]])
    assert (tmp_path / "out" / "froc_a.csv").is_file()
    assert not list((tmp_path / "out").glob("*.png"))
    assert caplog.text.count("no picture of the curve") == 1


def test_summary_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    engine = engine_of(LesionScores(str(tmp_path), NAMES, "a"))
    run(engine, [[(case(tmp_path, "two", TWO), output(HALF_FOUND, PROBABILITY))]])
    assert "1 cases" in caplog.text
    assert "1 of 2 lesions found" in caplog.text


@pytest.mark.parametrize("handler", [CaseScores, LesionScores])
def test_other_shape_is_refused_with_the_file(tmp_path: Path, handler):
    engine = engine_of(handler(str(tmp_path / "scores"), NAMES))
    with pytest.raises(ValueError, match=r"two\.nii\.gz: .*\(20, 30, 16\).*\(20, 30, 15\)"):
        run(engine, [[(case(tmp_path, "two", TWO), output(HALF_FOUND[..., 1:]))]])


@pytest.mark.parametrize("handler", [CaseScores, LesionScores])
def test_label_with_a_class_of_no_name(tmp_path: Path, handler):
    engine = engine_of(handler(str(tmp_path / "scores"), NAMES))
    with pytest.raises(
        ValueError, match=r"two\.nii\.gz: found values \[255\], expected whole numbers from 0 to 1"
    ):
        run(engine, [[(case(tmp_path, "two", TWO * np.uint8(255)), output(HALF_FOUND))]])


@pytest.mark.parametrize(
    "setting",
    [{"candidate_threshold": 0}, {"candidate_threshold": 1}, {"min_overlap": 1.5}, {"size_edges_ml": [2, 1]}],
)
def test_settings_out_of_range(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        LesionScores("out", NAMES, **setting)


def test_in_a_shipped_config(tmp_path: Path, msd: Path):
    """The student's inference and evaluation with this handler, against the masks that it saves."""
    torch.manual_seed(0)
    kind = "unet_student_segmentation"
    torch.save(student_network(bundle(kind)).state_dict(), tmp_path / "model.pt")
    configs = [str(bundle(kind) / "configs" / name) for name in ("inference.yaml", "evaluate.yaml")]
    parser = ConfigParser(ConfigParser.load_config_files(configs))
    transforms = [{"_target_": "dckd_ext.transforms.ForegroundProbabilityd", "keys": "pred"}]
    transforms += parser.get("postprocessing#transforms")
    transforms[2]["keys"] = ["pred", "probability"]  # of Invertd
    handler = {
        "_target_": "dckd_ext.handlers.LesionScores",
        "path": "@output_dir",
        "class_names": "@class_names",
        "split": "@split",
    }
    workflow(
        kind,
        ["inference.yaml", "evaluate.yaml"],
        "inference",
        **{"postprocessing#transforms": transforms, "handlers": [*parser.get("handlers"), handler]},
        dataset_dir=str(msd),
        split_file=str(msd / "splits.json"),
        split="all",
        output_dir=str(tmp_path / "out"),
        checkpoint=str(tmp_path / "model.pt"),
        patch_size=[32, 16, 16],
        device="cpu",
        save_masks=True,
    ).run()
    volumes = rows(tmp_path / "out" / "volumes_all.csv")
    lesions = rows(tmp_path / "out" / "lesions_all.csv")
    assert len(volumes) == len(rows(tmp_path / "out" / "scores_all.csv")) == 6
    for row in volumes:
        p, t = (
            np.asarray(nib.load(path).dataobj) > 0
            for path in (
                tmp_path / "out" / f"{row['case']}_seg.nii.gz",
                msd / "labelsTr" / f"{row['case']}.nii.gz",
            )
        )
        assert float(row["dice"]) == pytest.approx(2 * (p & t).sum() / (p.sum() + t.sum()), abs=1e-5)
        assert float(row["predicted_ml"]) == pytest.approx(p.sum() / 1000, abs=1e-5)
        truth, count = connected(t, np.ones((3, 3, 3)))
        own = [lesion for lesion in lesions if lesion["case"] == row["case"]]
        assert len(own) == count == int(row["lesions"])
        for number, lesion in enumerate(own, 1):
            assert float(lesion["covered"]) == pytest.approx(p[truth == number].mean(), abs=1e-5)
            # untrained: the probability of three classes is high everywhere, and so is the candidate's
            assert float(lesion["score"]) > 0.3
    assert (tmp_path / "out" / "froc_all.png").is_file()
