"""What each path makes of all inputs, in one run of its real entry point."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from dckd_ext.cli.check import check
from dckd_ext.data.volumes import warn_of
from dckd_ext.export import bundle_settings, predict_source
from dckd_ext.export.networks import write_onnx
from tests.conftest import bundle, workflow
from tests.inputs.scene import WINDOW, PatternNetwork
from tests.inputs.table import Input

KIND = "unet_student_segmentation"


@dataclass
class Found:
    """What a path made of the inputs, by their names.

    Attributes:
        refused: the text, for those that it refused.
        warned: the texts, for those that it warned of.
        masks: the files, on the paths that write some.
        scores: mean Dice, of evaluation.
        data: image and label, of training.
    """

    refused: dict[str, str] = field(default_factory=dict)
    warned: dict[str, list[str]] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    data: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


@dataclass
class Folder:
    """All inputs in the layout of the Medical Segmentation Decathlon, and the network."""

    root: Path
    images: dict[str, Path]
    labels: dict[str, Path]

    @property
    def weights(self) -> Path:
        """Of the network."""
        return self.root / "model.pt"


def write_folder(root: Path, inputs: list[Input]) -> Folder:
    """Write all inputs, the split that has them in one fold, and the network."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    images = {one.name: one.image.write(root / "imagesTr" / one.name, "image") for one in inputs}
    labels = {one.name: one.label_file.write(root / "labelsTr" / one.name, "label") for one in inputs}
    entries = [
        {"image": str(images[name].relative_to(root)), "label": str(labels[name].relative_to(root))}
        for name in images
    ]
    (root / "dataset.json").write_text(json.dumps({"training": entries}))
    (root / "splits.json").write_text(json.dumps({"folds": [list(images)], "test": []}))
    folder = Folder(root, images, labels)
    torch.save(PatternNetwork().state_dict(), folder.weights)
    return folder


@contextmanager
def _warnings(found: Found, folder: Folder) -> Iterator[None]:
    """Note the warnings that name a file of the folder."""
    names = {str(path): name for files in (folder.images, folder.labels) for name, path in files.items()}

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            path, _, text = record.getMessage().partition(": ")
            if path in names:
                found.warned.setdefault(names[path], []).append(text)

    notes = Notes(logging.WARNING)
    warn_of.cache_clear()
    logging.getLogger().addHandler(notes)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(notes)


def run_check(folder: Folder, out: Path) -> Found:
    """`dckd check`."""
    found = Found()
    with pytest.raises(SystemExit):
        check(str(folder.root), out=str(out / "check.csv"), classes=3)
    with open(out / "check.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["problems"]:
                found.refused[row["case"]] = row["problems"]
            if row["warnings"]:
                found.warned[row["case"]] = [row["warnings"]]
    return found


def run_training(folder: Folder, out: Path) -> Found:
    """The preprocessing of the training config, case by case."""
    parser = ConfigParser()
    parser.read_config(bundle(KIND) / "configs" / "train.yaml")
    parser["bundle_root"] = str(bundle(KIND))
    prepare = parser.get_parsed_content("preprocessing")
    found = Found()
    with _warnings(found, folder):
        for name, image in folder.images.items():
            try:
                data = prepare({"image": str(image), "label": str(folder.labels[name])})
            except Exception as error:
                found.refused[name] = _causes(error)
            else:
                found.data[name] = data["image"][0].numpy(), data["label"][0].numpy()
    return found


def run_inference(folder: Folder, out: Path) -> Found:
    """The inference config, with the network of the scene."""
    found = _workflow(
        folder, "inference.yaml", dataset_dir=str(folder.root / "imagesTr"), output_dir=str(out / "torch")
    )
    found.masks = _masks(out / "torch")
    return found


def run_evaluation(folder: Folder, out: Path) -> Found:
    """The inference and evaluation configs."""
    found = _workflow(
        folder,
        ["inference.yaml", "evaluate.yaml"],
        dataset_dir=str(folder.root),
        split_file=str(folder.root / "splits.json"),
        split=0,
        output_dir=str(out / "evaluation"),
    )
    with open(out / "evaluation" / "scores_0.csv", newline="") as file:
        found.scores = {row["case"]: float(row["dice_mean"]) for row in csv.DictReader(file)}
    return found


def run_predict(folder: Folder, out: Path) -> Found:
    """The shipped predict.py, with the network as ONNX."""
    (out / "shipped").mkdir()
    (out / "shipped" / "predict.py").write_text(predict_source())
    spec = spec_from_file_location("shipped_predict", out / "shipped" / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    predict: Any = module_from_spec(spec)
    import sys

    sys.modules["shipped_predict"] = predict
    spec.loader.exec_module(predict)
    settings = bundle_settings(bundle(KIND))
    del settings["known"]  # a made scene is far from the volumes that the bundle knows
    write_onnx(PatternNetwork(), out / "shipped" / "model.onnx", 1, WINDOW, settings)
    found = Found()
    with _warnings(found, folder):
        failed = predict.predict(
            [folder.root / "imagesTr"], out / "onnx", out / "shipped" / "model.onnx", threads=1
        )
    names = {str(path): name for name, path in folder.images.items()}
    found.refused = {names[path]: text for path, text in failed.items()}
    found.masks = _masks(out / "onnx")
    return found


RUNS: dict[str, Callable[[Folder, Path], Found]] = {
    "check": run_check,
    "training": run_training,
    "inference": run_inference,
    "evaluation": run_evaluation,
    "predict": run_predict,
}


def _workflow(folder: Folder, configs: Any, **override: Any) -> Found:
    network = {"_target_": "tests.inputs.scene.PatternNetwork"}
    flow = workflow(
        *(KIND, configs, "inference"),
        **{"network_def": network, "checkpoint": str(folder.weights), "device": "cpu", **override},
    )
    found = Found()
    with _warnings(found, folder):  # not before: a workflow sets up the logging
        try:
            flow.run()
        except RuntimeError as error:
            names = {path.name: name for name, path in folder.images.items()}
            for file, text in re.findall(r"^  (\S+): \w+: (.*)$", _causes(error), re.MULTILINE):
                found.refused[names[file]] = text
    return found


def _causes(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return "\n".join(texts)


def _masks(folder: Path) -> dict[str, Path]:
    return {path.name.removesuffix("_seg.nii.gz"): path for path in folder.glob("*_seg.nii.gz")}
