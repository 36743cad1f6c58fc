"""The model zoo's rules (its `ci/verify_bundle.py`) for every bundle, by MONAI's commands, from elsewhere.

The bundles are copies of what git tracks, so that nothing here depends on what was trained or exported in the
checkout. Those without weights keep all rules that need no `model.pt`.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import fire
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import (
    ckpt_export,
    create_workflow,
    load,
    onnx_export,
    verify_metadata,
    verify_net_in_out,
)

from dckd_ext.bundle import student_network
from dckd_ext.distribution import pack_bundles
from dckd_ext.distribution.metadata import SCHEMA
from dckd_ext.phantom import write_phantoms
from tests.conftest import BUNDLES, SMALL

KINDS = ("teacher_segmentation", "unet_student_segmentation", "hrnet_student_segmentation", "distillation")
NAMES = [f"{family}_{kind}" for family in ("hippocampus", "abus") for kind in KINDS]
TRAINED = [name for name in NAMES[:4] if "distillation" not in name]
SLOW_AT_FULL_WINDOW = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith("abus") else ()) for name in NAMES
]
LARGE = 25 * 1024 * 1024


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles as git has them."""
    out = tmp_path_factory.mktemp("zoo") / "bundles"
    listed = subprocess.run(["git", "ls-files"], cwd=BUNDLES, capture_output=True, text=True, check=True)
    for path in listed.stdout.split():
        if path.startswith("sources/"):
            continue
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(BUNDLES / path, out / path)
    return out


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def files_of(root: Path) -> list[Path]:
    return [file for file in root.rglob("*") if file.is_file()]


# ---- files


def test_every_bundle_is_tried(shipped: Path):
    assert sorted(path.name for path in shipped.iterdir() if path.is_dir()) == sorted(NAMES)
    with_weights = {file.parts[-3] for file in shipped.glob("*/models/model.pt")}
    assert with_weights == set(TRAINED)


@pytest.mark.parametrize("name", NAMES)
def test_files(shipped: Path, name: str):
    root = shipped / name
    found = {str(file.relative_to(root)) for file in files_of(root)}
    assert {"LICENSE", "configs/metadata.json", "docs/README.md", "docs/data_license.txt"} <= found
    assert found & {"configs/inference.json", "configs/inference.yaml"}
    texts = [file for file in files_of(root) if file.suffix not in (".pt", ".ts", ".onnx")]
    assert max(file.stat().st_size for file in texts) <= LARGE
    for file in texts:
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"/home/|/Users/|/root/|C:\\|/work/|/tmp/", text), file
        if file.suffix == ".json":
            assert text.rstrip("\n") == json.dumps(json.loads(text), indent=4, ensure_ascii=False), file


@pytest.mark.parametrize("name", NAMES)
def test_sections_of_the_model_card(shipped: Path, name: str):
    titles = re.findall(r"^#+ (.+)$", (shipped / name / "docs/README.md").read_text(), re.MULTILINE)
    expected = ["Data", "Training configuration", "Input", "Output", "Performance", "Commands"]
    assert [title for title in titles if title in expected] == expected
    assert titles[-1] == "License"


def test_large_files(shipped: Path, tmp_path: Path):
    """What a release makes for the zoo: files over 25 MB are named in large_files.yml, with their hash."""
    pack_bundles([shipped / "hippocampus_teacher_segmentation"], tmp_path / "out", "https://host/x")
    (folder,) = (tmp_path / "out/hub").iterdir()
    listed = yaml.safe_load((folder / "large_files.yml").read_text())["large_files"]
    large = [file for file in files_of(folder) if file.stat().st_size > LARGE]
    assert [str(file.relative_to(folder)) for file in large] == ["models/model.pt"]
    assert [(entry["path"], entry["hash_val"]) for entry in listed] == [
        ("models/model.pt", sha256(large[0].read_bytes()).hexdigest())
    ]


# ---- metadata


@pytest.mark.parametrize("name", NAMES)
def test_version_and_schema(shipped: Path, name: str):
    file = shipped / name / "configs" / "metadata.json"
    metadata = read_json(file)
    assert metadata["version"] in metadata["changelog"]
    verify_metadata(meta_file=str(file), filepath=str(SCHEMA))


@pytest.mark.parametrize("key", ["task", "numpy_version", "network_data_format"])
def test_metadata_that_lacks_a_key(shipped: Path, tmp_path: Path, key: str):
    metadata = read_json(shipped / NAMES[0] / "configs" / "metadata.json")
    del metadata[key]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=f"'{key}' is a required property"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(SCHEMA))


@pytest.mark.slow
def test_verify_metadata_from_the_command_line(shipped: Path, tmp_path: Path):
    def verify(file: Path) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "monai.bundle", "verify_metadata", "--meta_file", str(file)]
        return subprocess.run([*command, "--filepath", str(SCHEMA)], capture_output=True, text=True)

    before = SCHEMA.read_bytes()
    file = shipped / "hippocampus_distillation" / "configs" / "metadata.json"
    good = verify(file)
    assert good.returncode == 0, good.stderr
    assert "verified with no error" in good.stdout + good.stderr
    broken = tmp_path / "metadata.json"
    broken.write_text(json.dumps({**read_json(file), "version": "0.10.0"}))
    assert "'0.10.0' does not match" in verify(broken).stderr
    assert SCHEMA.read_bytes() == before


# ---- network


def check_shapes(root: Path, metadata: Path) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(metadata),
        config_file=str(root / "configs" / "inference.yaml"),
        device="cpu",
        bundle_root=str(root),
    )


@pytest.mark.parametrize("name", SLOW_AT_FULL_WINDOW)
def test_verify_net_in_out(shipped: Path, name: str):
    check_shapes(shipped / name, shipped / name / "configs" / "metadata.json")


def test_verify_net_in_out_sees_another_number_of_channels(shipped: Path, tmp_path: Path):
    root = shipped / "hippocampus_unet_student_segmentation"
    metadata = read_json(root / "configs" / "metadata.json")
    metadata["network_data_format"]["outputs"]["pred"]["num_channels"] = 4
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="output channel number `3` doesn't match: `4`"):
        check_shapes(root, tmp_path / "metadata.json")


@pytest.fixture(scope="module", params=TRAINED)
def exported(request: pytest.FixtureRequest, shipped: Path) -> Path:
    """A bundle exported by the commands of its model card, run in its folder as written."""
    root = shipped / request.param
    card = (root / "docs" / "README.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^python -m monai\.bundle ((?:ckpt|onnx)_export [^`]+)```", card, re.MULTILINE)
    assert len(commands) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for command in commands:
            fire.Fire({"ckpt_export": ckpt_export, "onnx_export": onnx_export}, command=shlex.split(command))
    return root


def trained_network(root: Path) -> torch.nn.Module:
    network = student_network(root).eval()
    weights = torch.load(root / "models" / "model.pt", weights_only=True)
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return network


def logits(network: torch.nn.Module, shape: tuple[int, ...]) -> tuple[torch.Tensor, np.ndarray]:
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return image, network(image).numpy()


@pytest.mark.slow
def test_torchscript(exported: Path):
    """`ckpt_export`, `torch.jit.load` and `load`: the same logits, at a size of no round number too."""
    network = trained_network(exported)
    script = torch.jit.load(exported / "models" / "model.ts").eval()
    loaded, metadata, extra = load(
        exported.name,
        bundle_dir=exported.parent,
        load_ts_module=True,
        config_files=["inference.json"],
        device="cpu",
    )
    assert (
        metadata["network_data_format"]
        == read_json(exported / "configs/metadata.json")["network_data_format"]
    )
    assert "network_def" in json.loads(extra["inference.json"])
    for shape in ((1, 1, 32, 48, 32), (2, 1, 35, 27, 36)):
        image, expected = logits(network, shape)
        for module in (script, loaded.eval()):
            with torch.no_grad():
                np.testing.assert_allclose(module(image).numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_onnx(exported: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        exported / "models" / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    network = trained_network(exported)
    for shape in ((1, 1, 32, 48, 32), (2, 1, 48, 32, 16)):
        image, expected = logits(network, shape)
        (found,) = session.run(["pred"], {"image": image.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4)


# ---- load and create_workflow


def assert_weights(state: dict, root: Path) -> None:
    expected = torch.load(root / "models" / "model.pt", weights_only=True)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key].float(), value.float()) for key, value in expected.items())


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("workflow_type", ["train", "inference"])
def test_load(shipped: Path, name: str, workflow_type: str):
    """MONAI builds a network from a JSON config alone; of a bundle in YAML it returns the weights."""
    where = {"bundle_dir": shipped, "workflow_type": workflow_type, "device": "cpu"}
    assert_weights(load(name, **where), shipped / name)
    network = student_network(shipped / name)
    assert load(name, model=network, **where) is network
    assert_weights(network.state_dict(), shipped / name)


@pytest.mark.parametrize("workflow_type", ["train", "inference"])
def test_load_builds_the_network_of_a_json_config(
    shipped: Path, tmp_path: Path, msd: Path, workflow_type: str
):
    """So nothing in `initialize` reads weights, or touches a network that they are loaded into later."""
    name = "hippocampus_unet_student_segmentation"
    root = shutil.copytree(shipped / name, tmp_path / name)
    config = yaml.safe_load((root / "configs" / f"{workflow_type}.yaml").read_text())
    config |= {"bundle_root": str(root), "dataset_dir": str(msd), "device": "cpu"}
    if workflow_type == "train":
        config["split_file"] = str(msd / "splits.json")
    (root / "configs" / f"{workflow_type}.json").write_text(json.dumps(config))
    network = load(name, bundle_dir=tmp_path, workflow_type=workflow_type, device="cpu")
    assert isinstance(network, torch.nn.Module)
    assert_weights(network.state_dict(), root)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, msd: Path) -> dict[str, Path]:
    """Cases in the layout of the Medical Segmentation Decathlon, by family."""
    phantoms = tmp_path_factory.mktemp("phantoms") / "abus"
    write_phantoms(phantoms, 5, "msd", seed=0, shape=(48, 64, 40), spacing=(0.4, 0.3, 0.5))
    return {"hippocampus": msd, "abus": phantoms}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("workflow_type", ["train", "inference", "evaluation"])
def test_properties(shipped: Path, data: dict[str, Path], tmp_path: Path, name: str, workflow_type: str):
    root, family = shipped / name, name.partition("_")[0]
    files = {"train": ["train"], "inference": ["inference"], "evaluation": ["inference", "evaluate"]}
    override = {"output_dir": str(tmp_path), "dataset_dir": str(data[family]), "device": "cpu"}
    if workflow_type == "train":
        override["patch_size"] = SMALL["patch_size"]
    if workflow_type == "inference":
        override["dataset_dir"] = str(data[family] / "imagesTr")
    elif family == "hippocampus":
        override["split_file"] = str(data[family] / "splits.json")
    elif (name, workflow_type) == ("abus_distillation", "train"):
        teacher = student_network(shipped / "abus_teacher_segmentation")
        torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
        override["teacher_weights"] = str(tmp_path / "teacher.pt")
    flow = create_workflow(
        config_file=[str(root / "configs" / f"{file}.yaml") for file in files[workflow_type]],
        workflow_type=workflow_type,
        bundle_root=str(root),
        meta_file=str(root / "configs" / "metadata.json"),
        logging_file=str(root / "configs" / "logging.conf"),
        **override,
    )
    assert flow.check_properties() == []
