"""Try the 3D segmentation bundles of a checkout of MONAI's model zoo, and write the table of docs/zoo.md.

    git clone https://github.com/Project-MONAI/model-zoo
    python experiments/model_zoo.py model-zoo [--only NAME...] [--table docs/zoo.md]

Every bundle is copied with random weights in the zoo's own form: its network from its own config, made
smaller where arguments of it say how, in smaller windows where it takes them, and the weights under the
name that the bundle's own CheckpointLoader reads. Tried are, in a process for each bundle: the teacher, its
taps, one training step of the shipped distillation, the export, and whether predict gives the masks of the
bundle's own inference on a synthetic volume. It needs the packages that the bundles name (einops, pandas,
itk, scikit-image) beside this one's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser
from scipy import ndimage

from dckd_ext.bundle import class_names, in_channels, is_distillation
from dckd_ext.bundle.config import config_file, evaluated, load_bundle_config
from dckd_ext.bundle.networks import student_network, teacher_network, weights_file
from dckd_ext.bundle.transforms import has_regions
from dckd_ext.utils.errors import first_line, root_cause

ROOT = Path(__file__).resolve().parents[1]
# What a teacher needs on the command line, and arguments that make networks smaller
SET = {"swin_unetr_btcv_segmentation": {"img_size": None}}
SMALLER: dict[str, dict[str, Any]] = {
    "SegResNet": {"init_filters": 8},
    "DynUNet": {"filters": [4, 8, 8, 16, 16, 16]},
    "UNet": {"channels": lambda channels: [max(4, edge // 4) for edge in channels]},
    "SwinUNETR": {"feature_size": 12},
}
STEPS = ("loads", "taps", "distils", "exports", "masks")
BEGIN, END = "<!-- table of experiments/model_zoo.py -->", "<!-- end -->"


def bundles_of(zoo: Path) -> list[Path]:
    """List the bundles that segment volumes: those with a 3D segmentation network in their metadata."""
    found = []
    for root in sorted((zoo / "models").iterdir()):
        file = root / "configs" / "metadata.json"
        if not file.is_file():
            continue
        formats = json.loads(file.read_text(encoding="utf-8")).get("network_data_format", {})
        pred, image = (
            formats.get(side, {}).get(name, {}) for side, name in (("outputs", "pred"), ("inputs", "image"))
        )
        volume = len(image.get("spatial_shape", ())) == 3
        if (
            volume
            and pred.get("format") in ("segmentation", "labels")
            and (pred.get("channel_def") or pred.get("label_def"))
        ):
            found.append(root)
    return [root for root in found if not is_distillation(root)]


def prepared(source: Path, folder: Path) -> Path:
    """Copy a bundle, make its network smaller, and write random weights where its loader reads them."""
    ignored = shutil.ignore_patterns("docs", "*.pt", "*.ts", "data")
    root = Path(shutil.copytree(source, folder / source.name, ignore=ignored))
    (root / "models").mkdir(exist_ok=True)
    _write_searched(root)
    file = config_file(root)
    config = ConfigParser.load_config_file(str(file))
    definition = config["network_def"]
    if isinstance(definition, dict):
        for name, value in SMALLER.get(definition["_target_"].rpartition(".")[2], {}).items():
            if name in definition or name == "filters":  # which DynUNet has by default
                definition[name] = value(definition[name]) if callable(value) else value
    if "roi_size" in config["inferer"] and "UNesT" not in str(definition):  # which takes 96 alone
        config["inferer"]["roi_size"] = [64, 64, 64]
    ConfigParser.export_config_file(config, str(file), fmt=file.suffix[1:])
    torch.manual_seed(0)
    try:
        torch.save(
            student_network(root, SET.get(root.name)).state_dict(), weights_file(root, SET.get(root.name))
        )
    except ValueError as error:
        print(f"{root.name}: no weights: {first_line(error)}")
    return root


def _write_searched(root: Path) -> None:
    """Write what a search of a DiNTS architecture leaves: arrays of NumPy, here of a small valid one."""
    config = ConfigParser.load_config_file(str(config_file(root)))
    if "arch_ckpt_path" not in config:
        return
    blocks, depths = config["dints_space"]["num_blocks"], config["dints_space"]["num_depths"]
    paths = 3 * depths - 2
    active = np.zeros((blocks, paths), int)
    active[:, 0] = 1  # stay at the first depth
    node = np.zeros((blocks + 1, depths), int)
    node[:, 0] = 1
    code = {
        "node_a": node,
        "arch_code_a": active,
        "arch_code_a_max": active,
        "arch_code_c": np.ones((blocks, paths), int),
    }
    torch.save(code, root / "models" / "search_code_18590.pt")


def try_step(step: str, root: Path, folder: Path) -> str:
    """Return what came of a step: nothing where it works, else the reason in a sentence."""
    return {"loads": _loads, "taps": _taps, "distils": _distils, "exports": _exports, "masks": _masks}[step](
        root, folder
    )


def _loads(root: Path, folder: Path) -> str:
    teacher_network(root, config=SET.get(root.name))
    return ""


def _roi(root: Path) -> list[int]:
    config = load_bundle_config(root)
    key = (
        "inferer#roi_size"
        if "inferer#roi_size" in config
        else "_meta_#network_data_format#inputs#image#spatial_shape"
    )
    size = [int(edge) for edge in np.broadcast_to(np.asarray(evaluated(config, key)), 3)]
    return [min(edge, 96) for edge in size]


def _taps(root: Path, folder: Path) -> str:
    from dckd_ext.networks import suggest_tap

    teacher = teacher_network(root, config=SET.get(root.name))
    return "" if suggest_tap(teacher, in_channels(root), _roi(root)) else "no features"


def _distils(root: Path, folder: Path) -> str:
    """Train a small student for a step by the shipped distillation, of all classes or of regions."""
    from monai.bundle import create_workflow

    teacher_network(root, config=SET.get(root.name))
    channels, names = in_channels(root), list(class_names(root).values())
    if channels != 1 and "guidance" in config_file(root).read_text(encoding="utf-8"):
        return "its further input channels are a user's clicks, which no volume of a training set has"
    regions = has_regions(root)
    student = _student(folder / "student", channels, names, regions)
    data = _dataset(folder / "data", channels, len(names))
    workflow = ROOT / "bundles" / "hippocampus_distillation"
    files = ["train.yaml", *(["regions.yaml"] if regions else [])]
    options = {"regions": {name: [index + 1] for index, name in enumerate(names)}} if regions else {}
    flow = create_workflow(
        config_file=[str(workflow / "configs" / file) for file in files],
        workflow_type="train",
        bundle_root=str(workflow),
        teacher_bundle=str(root),
        student_bundle=str(student),
        teacher_config=SET.get(root.name, {}),
        dataset_dir=str(data),
        split_file=str(data / "split.json"),
        checkpoint=str(folder / "model.pt"),
        output_dir=str(folder / "output"),
        patch_size=_roi(root),
        epochs=1,
        batch_size=1,
        min_teacher_dice=0,
        device="cpu",
        autocast="float32",
        check_teacher=None,
        **options,
    )
    flow.run()
    return ""


def _student(root: Path, channels: int, names: list[str], regions: bool) -> Path:
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    network = {
        **{"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": channels, "out_channels": len(names)},
        "features": [4, 4, 4, 4, 4, 4],
    }
    end = {"_target_": "AsDiscreted", "keys": "pred", **({"threshold": 0.5} if regions else {"argmax": True})}
    config = {"network_def": network, "postprocessing": {"_target_": "Compose", "transforms": [end]}}
    (root / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    formats = {
        "inputs": {"image": {"num_channels": channels}},
        "outputs": {"pred": {"channel_def": {str(index): name for index, name in enumerate(names)}}},
    }
    (root / "configs" / "metadata.json").write_text(
        json.dumps({"network_data_format": formats}), encoding="utf-8"
    )
    return root


def _dataset(root: Path, channels: int, classes: int) -> Path:
    entries = []
    for number in range(2):
        image, label = _volume(number, channels, min(classes, 6))
        for kind, voxels in (("images", image), ("labels", label)):
            (root / f"{kind}Tr").mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / f"{kind}Tr" / f"case_{number}.nii.gz")
        name = f"case_{number}.nii.gz"
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    (root / "dataset.json").write_text(
        json.dumps({"name": "synthetic", "training": entries}), encoding="utf-8"
    )
    (root / "split.json").write_text(
        json.dumps({"folds": [["case_0"], ["case_1"]], "test": []}), encoding="utf-8"
    )
    return root


def _volume(seed: int, channels: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Make smooth noise in Hounsfield's range, and bands of it as classes."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (44, 40, 36, channels)), (3, 3, 3, 0))
    smooth /= smooth.std()
    edges = np.quantile(smooth[..., 0], np.linspace(0, 1, classes + 1)[1:-1])
    image = (150 * smooth).astype(np.float32)
    return (image if channels > 1 else image[..., 0]), np.digitize(smooth[..., 0], edges).astype(np.uint8)


def _exports(root: Path, folder: Path) -> str:
    from dckd_ext.export import export_bundle

    _apply_set(root)
    report = export_bundle(root)
    return "; ".join(f"no {name}: {why}" for name, why in report["left_out"].items())


def _apply_set(root: Path) -> None:
    """Take out of the copy's config what a teacher's is told to leave out."""
    file = config_file(root)
    config = ConfigParser.load_config_file(str(file))
    for name in SET.get(root.name, {}):
        config["network_def"].pop(name, None)
    ConfigParser.export_config_file(config, str(file), fmt=file.suffix[1:])


def _masks(root: Path, folder: Path) -> str:
    """Compare the masks of predict with those of the bundle's own inference."""
    from dckd_ext.export.predict import load_model, segment

    if not (root / "predict.py").is_file():
        return "no predict.py"
    channels = in_channels(root)
    image = folder / "image.nii.gz"
    affine = np.diag([1.2, -1.2, 1.6, 1])
    nibabel.save(nibabel.Nifti1Image(_volume(7, channels, 2)[0][:40, :40, :32], affine), image)
    expected = np.squeeze(_own_mask(root, image))
    network, settings = load_model(root / "models" / "model.onnx", 1, "onnxruntime")
    found, _ = segment(image, network, settings)
    if len(np.unique(found)) < 2:
        return "one class alone, nothing to compare"
    differing = int((found != expected).sum())
    return "" if differing <= found.size * 1e-4 else f"{differing} of {found.size} voxels differ"


def _own_mask(root: Path, image: Path) -> np.ndarray:
    config = load_bundle_config(root)
    data = evaluated(config, "preprocessing")({"image": str(image)})
    network = teacher_network(root).network
    with torch.inference_mode():
        logits = evaluated(config, "inferer")(data["image"][None], network)
    logits = logits[0] if isinstance(logits, torch.Tensor) else logits[0][0]
    data["pred"] = logits
    data["pred"].applied_operations = data["image"].applied_operations
    transforms = evaluated(config, "postprocessing").transforms
    for transform in transforms:
        if not type(transform).__name__.startswith("SaveImage"):
            data = transform(data)
    return np.asarray(data["pred"])


def _child(root: Path) -> None:
    """Try all steps and print what came of each."""
    for step in STEPS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                said = try_step(step, root, Path(folder))
            except Exception as error:  # whatever the bundle raises
                said = f"{type(root_cause(error)).__name__}: {str(root_cause(error)).splitlines()[0]}"
        print(f"\nRESULT {json.dumps([step, said])}", flush=True)


def _outcomes(root: Path, seconds: float) -> dict[str, str]:
    """Run the steps in a process, which may crash or take too long."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", str(root)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds)
        output, why = done.stdout, f"ended with {done.returncode}: {done.stderr.strip()[-200:]}"
    except subprocess.TimeoutExpired as error:
        output, why = (error.stdout or b"").decode(), f"took more than {seconds:.0f} s"
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    found = dict(json.loads(line.removeprefix("RESULT ")) for line in lines)
    return {step: found.get(step, why) for step in STEPS}


def table(rows: dict[str, dict[str, str]]) -> str:
    """Return the table in Markdown, and under it the reasons."""
    lines = [f"| bundle | {' | '.join(STEPS)} | to set |", f"| --- |{' --- |' * (len(STEPS) + 1)}"]
    notes = []
    for name, outcome in rows.items():
        cells = [_cell(step, outcome[step]) for step in STEPS]
        options = " ".join(f"`--teacher_config#{key} null`" for key in SET.get(name, {}))
        lines.append(f"| {name} | {' | '.join(cells)} | {options} |")
        said = dict.fromkeys(text.replace(f"{name}/", "").strip() for text in outcome.values() if text)
        notes += [f"- {name}: {text}" for text in said]
    works = {step: sum(outcome[step] == "" for outcome in rows.values()) for step in STEPS}
    total = ", ".join(f"{count} {step}" for step, count in works.items())
    return "\n".join([*lines, "", f"Of {len(rows)} bundles: {total}.", "", *notes])


def _cell(step: str, said: str) -> str:
    if step == "exports" and said.startswith("no predict.py"):
        return "network"
    return "no" if said else "yes"


def main() -> None:
    """Try all bundles, print the table, and put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("zoo", type=Path, help="checkout of the model zoo")
    parser.add_argument("--only", nargs="*", default=[], help="names of bundles")
    parser.add_argument("--table", type=Path, help="page whose table is replaced")
    parser.add_argument("--seconds", type=float, default=1800, help="for each bundle")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.zoo)
        return
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in bundles_of(options.zoo):
            if options.only and source.name not in options.only:
                continue
            root = prepared(source, Path(folder))
            found = _outcomes(root, options.seconds)
            rows[source.name] = {step: said.replace(f"{folder}/", "") for step, said in found.items()}
            for step, said in rows[source.name].items():
                print(f"{source.name}: {step}: {said or 'yes'}", flush=True)
            shutil.rmtree(root)
    text = table(rows)
    print(text)
    if options.table:
        page = options.table.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        after = rest.partition(END)[2]
        options.table.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
